-- version 1
CREATE TABLE teachability (
    prompt_id VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    axis      VARCHAR NOT NULL CHECK (axis IN ('image_quality', 'semantic_understanding', 'text_rendering')),
    category  VARCHAR,
    n_takes   INTEGER NOT NULL CHECK (n_takes >= 2),
    n_passed  INTEGER NOT NULL CHECK (n_passed BETWEEN 0 AND n_takes),
    share     DOUBLE NOT NULL CHECK (share BETWEEN 0 AND 1),
    estimate  DOUBLE NOT NULL CHECK (estimate BETWEEN 0 AND 1),
    low       DOUBLE NOT NULL CHECK (low BETWEEN 0 AND estimate),
    high      DOUBLE NOT NULL CHECK (high BETWEEN estimate AND 1),
    prior     VARCHAR NOT NULL CHECK (prior IN ('cell', 'axis', 'jeffreys')),
    prior_a   DOUBLE NOT NULL CHECK (prior_a > 0),
    prior_b   DOUBLE NOT NULL CHECK (prior_b > 0)
);
COMMENT ON TABLE teachability IS 'How often the teacher does what a prompt says: share of a fixed number of takes that pass every gate. A measure, never a gate; prompts whose takes stopped at the first pass, or with fewer than two pictures, have no row.';
COMMENT ON COLUMN teachability.prompt_id IS 'the prompt; unique';
COMMENT ON COLUMN teachability.axis IS 'its axis';
COMMENT ON COLUMN teachability.category IS 'its category';
COMMENT ON COLUMN teachability.n_takes IS 'takes that were rendered without error and judged';
COMMENT ON COLUMN teachability.n_passed IS 'of these, how many pass every gate of the policy';
COMMENT ON COLUMN teachability.share IS 'n_passed / n_takes';
COMMENT ON COLUMN teachability.estimate IS 'share of takes that pass, over a fixed number of them, drawn to that of its cell (axis and category): posterior mean of a beta-binomial model; null: not measured';
COMMENT ON COLUMN teachability.low IS 'lower end of the 95% credible interval of the teachability';
COMMENT ON COLUMN teachability.high IS 'upper end of the 95% credible interval of the teachability';
COMMENT ON COLUMN teachability.prior IS 'what prior_a and prior_b were fitted on: the cell; its axis, where the cell has under 50 prompts or these differ by chance alone; jeffreys: neither';
COMMENT ON COLUMN teachability.prior_a IS 'first parameter of the beta distribution that the share is drawn to';
COMMENT ON COLUMN teachability.prior_b IS 'second parameter of that beta distribution';
