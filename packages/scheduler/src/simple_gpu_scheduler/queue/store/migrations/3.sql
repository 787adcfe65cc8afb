-- What attempts used. What is to start later isn't among what is ready, and how many jobs are in each
-- state is counted without looking at them: neither may cost more the longer the queue is.
ALTER TABLE attempts ADD COLUMN user_s REAL;
ALTER TABLE attempts ADD COLUMN system_s REAL;
ALTER TABLE attempts ADD COLUMN max_rss_mib INTEGER;  -- of the largest process
ALTER TABLE attempts ADD COLUMN memory_mib INTEGER;  -- of each GPU, as it was asked for
ALTER TABLE jobs ADD COLUMN requeue INTEGER NOT NULL DEFAULT 0;  -- if it is lost
ALTER TABLE jobs ADD COLUMN kill_leftovers INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN notified INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN later INTEGER NOT NULL DEFAULT 0;  -- its time hasn't come yet
UPDATE jobs SET later = 1 WHERE not_before_s IS NOT NULL;
DROP INDEX jobs_ready;
CREATE INDEX jobs_ready ON jobs (priority DESC, id)
    WHERE state = 'queued' AND blockers = 0 AND later = 0;
CREATE INDEX jobs_later ON jobs (not_before_s) WHERE state = 'queued' AND later = 1;
DROP INDEX jobs_open;
CREATE INDEX jobs_open ON jobs (state) WHERE (state = 'queued' OR state = 'held' OR state = 'running');
CREATE INDEX jobs_ended ON jobs (state) WHERE (state = 'succeeded' OR state = 'failed' OR state = 'cancelled' OR state = 'lost');
CREATE INDEX jobs_to_notify ON jobs (id)
    WHERE notify IS NOT NULL AND notified = 0 AND (state = 'succeeded' OR state = 'failed' OR state = 'cancelled' OR state = 'lost');
