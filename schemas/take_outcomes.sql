-- version 1
CREATE TABLE take_outcomes (
    prompt_id  VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    axis       VARCHAR NOT NULL CHECK (axis IN ('image_quality', 'semantic_understanding', 'text_rendering')),
    category   VARCHAR,
    fixed      BOOLEAN NOT NULL,
    n_takes    INTEGER NOT NULL CHECK (n_takes >= 1),
    n_rendered INTEGER NOT NULL CHECK (n_rendered BETWEEN 0 AND n_takes),
    n_passed   INTEGER NOT NULL CHECK (n_passed BETWEEN 0 AND n_rendered),
    first_pass INTEGER CHECK (first_pass >= 0),
    CHECK ((first_pass IS NULL) = (n_passed = 0))
);
COMMENT ON TABLE take_outcomes IS 'What came of the takes of each prompt with a planned picture.';
COMMENT ON COLUMN take_outcomes.prompt_id IS 'the prompt; unique';
COMMENT ON COLUMN take_outcomes.axis IS 'its axis';
COMMENT ON COLUMN take_outcomes.category IS 'its category';
COMMENT ON COLUMN take_outcomes.fixed IS 'whether every take was wanted, whatever passes';
COMMENT ON COLUMN take_outcomes.n_takes IS 'planned takes';
COMMENT ON COLUMN take_outcomes.n_rendered IS 'of these, how many were rendered without error';
COMMENT ON COLUMN take_outcomes.n_passed IS 'of these, how many pass every gate of the policy';
COMMENT ON COLUMN take_outcomes.first_pass IS 'number of the first take that passes every gate, from 0; null: none does';
