-- version 3
CREATE TABLE policy (
    gate        VARCHAR NOT NULL,
    kind        VARCHAR NOT NULL CHECK (kind IN ('bound', 'one_of', 'quantile', 'where')),
    decision    VARCHAR NOT NULL CHECK (decision IN ('keep_prompt', 'keep_image')),
    axis        VARCHAR NOT NULL CHECK (axis IN ('image_quality', 'semantic_understanding', 'text_rendering')),
    "by"        VARCHAR CHECK ("by" IN ('axis', 'category', 'style')),
    key         VARCHAR,
    scorer      VARCHAR,
    metric      VARCHAR,
    minimum     DOUBLE,
    maximum     DOUBLE,
    one_of      VARCHAR[],
    quantile    DOUBLE CHECK (quantile > 0 AND quantile < 1),
    n_reference BIGINT CHECK (n_reference >= 1),
    predicate   VARCHAR,
    validated   BOOLEAN NOT NULL,
    measured_on VARCHAR,
    CHECK ((kind = 'where') = (predicate IS NOT NULL)),
    CHECK ((kind = 'where') = (scorer IS NULL) AND (kind = 'where') = (metric IS NULL)),
    CHECK ((kind = 'one_of') = (one_of IS NOT NULL)),
    CHECK ((kind = 'quantile') = (quantile IS NOT NULL) AND (kind = 'quantile') = (n_reference IS NOT NULL)),
    CHECK ((kind IN ('bound', 'quantile')) = (minimum IS NOT NULL OR maximum IS NOT NULL)),
    CHECK (key IS NULL OR coalesce("by", 'axis') <> 'axis')
);
COMMENT ON TABLE policy IS 'The image gates in force, in the recipe''s order: one row for each gate, axis and key.';
COMMENT ON COLUMN policy.gate IS 'name of the gate in the recipe';
COMMENT ON COLUMN policy.kind IS 'bound: numbers of the recipe; one_of: words; quantile: a bound fitted to reference pictures; where: a predicate';
COMMENT ON COLUMN policy.decision IS 'what the gate decides about';
COMMENT ON COLUMN policy.axis IS 'axis it applies to';
COMMENT ON COLUMN policy."by" IS 'by what the bounds differ; null: the axis has one';
COMMENT ON COLUMN policy.key IS 'category or kind of style that the bound is for; null: every one that has no row of its own on this axis';
COMMENT ON COLUMN policy.scorer IS 'scorer whose metric is gated; null for a predicate';
COMMENT ON COLUMN policy.metric IS 'metric that is gated; null for a predicate';
COMMENT ON COLUMN policy.minimum IS 'smallest value that passes; null: no lower bound';
COMMENT ON COLUMN policy.maximum IS 'largest value that passes; null: no upper bound';
COMMENT ON COLUMN policy.one_of IS 'details that pass; null: the detail is not looked at';
COMMENT ON COLUMN policy.quantile IS 'share of the reference pictures that the bound refuses';
COMMENT ON COLUMN policy.n_reference IS 'reference pictures that the bound was fitted to';
COMMENT ON COLUMN policy.predicate IS 'what must not be false, as the recipe says it';
COMMENT ON COLUMN policy.validated IS 'whether the bound was measured against labels or a known truth';
COMMENT ON COLUMN policy.measured_on IS 'fingerprint of the teacher on whose pictures the bound was measured, as the recipe says it';
