-- version 1
CREATE TABLE responses (
    request_id   VARCHAR NOT NULL CHECK (length(request_id) = 32),
    task         VARCHAR NOT NULL,
    subject      VARCHAR NOT NULL,
    model        VARCHAR NOT NULL,
    payload      VARCHAR NOT NULL CHECK (length(payload) = 64),
    answer       VARCHAR,
    error        VARCHAR,
    n_tries      INTEGER NOT NULL CHECK (n_tries >= 1),
    n_tokens_in  BIGINT NOT NULL CHECK (n_tokens_in >= 0),
    n_tokens_out BIGINT NOT NULL CHECK (n_tokens_out >= 0),
    CHECK ((answer IS NULL) = (error IS NOT NULL))
);
COMMENT ON TABLE responses IS 'Every answer of a language model, committed before it is used and never asked for again.';
COMMENT ON COLUMN responses.request_id IS 'hash(model, task, variant, subject); unique';
COMMENT ON COLUMN responses.task IS 'invent, rewrite, judge, parse or answer';
COMMENT ON COLUMN responses.subject IS 'what it is about: a cell and block, a prompt_id, the SHA-256 of a picture';
COMMENT ON COLUMN responses.model IS 'JSON: the model''s identity (kind, name, revision, sampling)';
COMMENT ON COLUMN responses.payload IS 'SHA-256 of all that was sent on the first try';
COMMENT ON COLUMN responses.answer IS 'the checked JSON answer; null where there is none';
COMMENT ON COLUMN responses.error IS 'why there is no answer after every try';
COMMENT ON COLUMN responses.n_tries IS 'times it was asked until the answer met the schema';
COMMENT ON COLUMN responses.n_tokens_in IS 'tokens sent, over all tries';
COMMENT ON COLUMN responses.n_tokens_out IS 'tokens answered, over all tries';
