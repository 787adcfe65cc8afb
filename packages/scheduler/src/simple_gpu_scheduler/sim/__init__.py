"""Simulates the scheduler with a virtual clock, to compare policies and to predict starts.

All of it is pure: nothing is started, no lease is taken, no clock is read.

    csv_trace (a file) or synthetic (drawn) -> Trace -> simulate -> metrics -> report
    runtimes of ended jobs -> forecast: when a waiting job of the queue will start

`simulate` and `forecast` call `policy.plan`, as the real scheduler does. So a new policy needs no
change here. Two things are not modelled: jobs that share a GPU run as fast as alone, and no job
fails. Times are seconds from the first submission.

Open `simulate` first.
"""
