-- Notifications, frozen work trees, and the memory that was seen.
ALTER TABLE jobs ADD COLUMN notify BLOB;  -- a command to run once it has ended
ALTER TABLE jobs ADD COLUMN snapshot TEXT NOT NULL DEFAULT '';  -- of the work tree it runs in
ALTER TABLE jobs ADD COLUMN peak_vram_mib INTEGER;  -- of the last attempt
ALTER TABLE attempts ADD COLUMN peak_vram_mib INTEGER;
