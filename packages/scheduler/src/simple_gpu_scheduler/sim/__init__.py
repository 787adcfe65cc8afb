"""The scheduler's own plans under a virtual clock: what would a policy do with these jobs?"""
