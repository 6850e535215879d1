-- The form of a version that there is not, for the test of upgrades.
ALTER TABLE jobs ADD COLUMN of_next TEXT NOT NULL DEFAULT '';
