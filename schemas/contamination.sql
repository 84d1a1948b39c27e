-- version 1
CREATE TABLE contamination (
    row_id              VARCHAR NOT NULL,
    prompt_id           VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    benchmark           VARCHAR NOT NULL,
    benchmark_file      VARCHAR NOT NULL,
    benchmark_row       BIGINT  NOT NULL CHECK (benchmark_row >= 0),
    benchmark_prompt_id VARCHAR NOT NULL CHECK (length(benchmark_prompt_id) = 32),
    rule                VARCHAR NOT NULL CHECK (rule IN ('exact', 'word_order', 'contained', 'near', 'ngrams', 'run', 'rare', 'scene', 'other_scene', 'skeleton')),
    value               DOUBLE  NOT NULL CHECK (value > 0),
    action              VARCHAR NOT NULL CHECK (action IN ('drop', 'flag'))
);
COMMENT ON TABLE contamination IS 'What was found of benchmarks in the prompts: of each prompt, benchmark and rule the best hit. Only the strongest hit of a row is its verdict.';
COMMENT ON COLUMN contamination.row_id IS 'row of prompts';
COMMENT ON COLUMN contamination.prompt_id IS 'its prompt';
COMMENT ON COLUMN contamination.benchmark IS 'name of the benchmark in the recipe';
COMMENT ON COLUMN contamination.benchmark_file IS 'its file, never the folder';
COMMENT ON COLUMN contamination.benchmark_row IS 'row in that file, from 0';
COMMENT ON COLUMN contamination.benchmark_prompt_id IS 'hash of the benchmark''s cleaned prompt, as prompts.prompt_id';
COMMENT ON COLUMN contamination.rule IS 'exact: equal but for case, spacing and punctuation; word_order: the same words in another order; contained: a short prompt with nothing but style around it; near: its content, as [dedup] compares it; ngrams: enough of its n-grams and rare words; run, rare: a telling passage; scene: the same scene in other words; other_scene: its words with another meaning; skeleton: the same template';
COMMENT ON COLUMN contamination.value IS 'contained: share of the prompt''s words; near: similarity; ngrams: share of the benchmark''s n-grams; run, rare: n-grams found; else 1';
COMMENT ON COLUMN contamination.action IS 'what the recipe does about it: drop or flag';
