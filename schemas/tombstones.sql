-- version 1
CREATE TABLE tombstones (
    prompt_id VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    fold_key  VARCHAR NOT NULL CHECK (length(fold_key) = 32),
    reason    VARCHAR NOT NULL CHECK (regexp_full_match(reason, '[a-z][a-z0-9_]*'))
);
COMMENT ON TABLE tombstones IS 'Texts that must not be kept: hash and reason, no text. Generate, render, publish and export read it.';
COMMENT ON COLUMN tombstones.prompt_id IS 'hash of the cleaned text that was purged';
COMMENT ON COLUMN tombstones.fold_key IS 'hash of the folded text: other spellings of it stay out too';
COMMENT ON COLUMN tombstones.reason IS 'why, as a snake_case code';
