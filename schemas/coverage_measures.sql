-- version 1
CREATE TABLE coverage_measures (
    scope   VARCHAR NOT NULL CHECK (scope IN ('prompts', 'pictures')),
    axis    VARCHAR NOT NULL CHECK (axis IN ('all', 'image_quality', 'semantic_understanding', 'text_rendering')),
    measure VARCHAR NOT NULL CHECK (regexp_full_match(measure, '[a-z][a-z0-9_]*')),
    value   DOUBLE,
    detail  VARCHAR
);
COMMENT ON TABLE coverage_measures IS 'What the published prompts cover, by axis: the figures of the card and of promptforge coverage.';
COMMENT ON COLUMN coverage_measures.scope IS 'prompts: every published prompt; pictures: those whose picture may be used';
COMMENT ON COLUMN coverage_measures.axis IS 'axis, or all of them together';
COMMENT ON COLUMN coverage_measures.measure IS 'prompts; noun_pairs (I-N), unique_nouns (UN), nouns_per_prompt (N/I): arXiv 2404.02883; distinct_1 to distinct_3: distinct n-grams of words over all; words_p05, words_p50, words_p95: length quantiles; templates, template_share: of the largest; natural_share: not written by a grammar; near_duplicate_share: dropped as such, of these and the kept; source_share';
COMMENT ON COLUMN coverage_measures.value IS 'a count, a number of words, or a share in [0, 1]; null where there are no prompts';
COMMENT ON COLUMN coverage_measures.detail IS 'source_share: the source; template_share: the largest template';
