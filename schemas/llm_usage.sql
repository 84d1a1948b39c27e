-- version 1
CREATE TABLE llm_usage (
    task         VARCHAR NOT NULL,
    model        VARCHAR NOT NULL,
    n_requests   BIGINT NOT NULL CHECK (n_requests >= 0),
    n_tokens_in  BIGINT NOT NULL CHECK (n_tokens_in >= 0),
    n_tokens_out BIGINT NOT NULL CHECK (n_tokens_out >= 0),
    seconds      DOUBLE NOT NULL CHECK (seconds >= 0),
    price        DOUBLE CHECK (price >= 0)
);
COMMENT ON TABLE llm_usage IS 'What asking cost: one row for each batch of answers committed together. Outside every digest.';
COMMENT ON COLUMN llm_usage.task IS 'task of the requests';
COMMENT ON COLUMN llm_usage.model IS 'name of the model';
COMMENT ON COLUMN llm_usage.n_requests IS 'answers in the batch';
COMMENT ON COLUMN llm_usage.n_tokens_in IS 'tokens sent';
COMMENT ON COLUMN llm_usage.n_tokens_out IS 'tokens answered';
COMMENT ON COLUMN llm_usage.seconds IS 'clock time in which they came in';
COMMENT ON COLUMN llm_usage.price IS 'in the currency of the recipe''s price_in and price_out; null where it states none';
