-- version 1
CREATE TABLE cost (
    epoch     INTEGER NOT NULL CHECK (epoch >= 0),
    stage     VARCHAR NOT NULL,
    n_rows    BIGINT  NOT NULL CHECK (n_rows >= 0),
    seconds   DOUBLE  NOT NULL CHECK (seconds >= 0)
);
COMMENT ON TABLE cost IS 'Clock time of the work done; outside every digest and outside dataset/.';
COMMENT ON COLUMN cost.epoch IS 'run of the folder that did the work, counted from 1';
COMMENT ON COLUMN cost.stage IS 'stage';
COMMENT ON COLUMN cost.n_rows IS 'rows that the stage made in that run';
COMMENT ON COLUMN cost.seconds IS 'seconds from the stage''s start to its end';
