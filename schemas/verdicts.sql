-- version 1
CREATE TABLE verdicts (
    row_id     VARCHAR NOT NULL,
    prompt_id  VARCHAR,
    stage      VARCHAR NOT NULL CHECK (stage IN ('generate', 'filter', 'dedup', 'decontaminate')),
    check_name VARCHAR NOT NULL,
    verdict    VARCHAR NOT NULL CHECK (verdict IN ('drop', 'near_miss')),
    reason     VARCHAR NOT NULL CHECK (regexp_full_match(reason, '[a-z][a-z0-9_]*')),
    value      DOUBLE,
    threshold  DOUBLE,
    detail     VARCHAR
);
COMMENT ON TABLE verdicts IS 'One row for each drop, and for each pass within the near-miss band. Plain passes are counted in the commit records.';
COMMENT ON COLUMN verdicts.row_id IS 'row of prompts';
COMMENT ON COLUMN verdicts.prompt_id IS 'its prompt; null where the row could not be read';
COMMENT ON COLUMN verdicts.stage IS 'stage that decided';
COMMENT ON COLUMN verdicts.check_name IS 'check that decided: a module of filters/, the source, exact_duplicate, near_duplicate or contaminated';
COMMENT ON COLUMN verdicts.verdict IS 'drop, or near_miss: kept, but close to the threshold';
COMMENT ON COLUMN verdicts.reason IS 'stable snake_case code';
COMMENT ON COLUMN verdicts.value IS 'what was measured, in the unit of the check';
COMMENT ON COLUMN verdicts.threshold IS 'what it was held against';
COMMENT ON COLUMN verdicts.detail IS 'what a person needs to see, e.g. the row_id of the duplicate''s winner';
