-- version 1
CREATE TABLE prompt_nouns (
    prompt_id VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    nouns     VARCHAR[] NOT NULL
);
COMMENT ON TABLE prompt_nouns IS 'The nouns of each published prompt, for measures of coverage by anything.';
COMMENT ON COLUMN prompt_nouns.prompt_id IS 'the prompt; unique';
COMMENT ON COLUMN prompt_nouns.nouns IS 'its nouns in lower case and singular, each once, by lists, endings and neighbours: some 3 to 5 of 100 are wrong or missing';
