-- version 2
CREATE TABLE policy (
    gate      VARCHAR NOT NULL,
    decision  VARCHAR NOT NULL CHECK (decision IN ('keep_prompt', 'keep_image')),
    axis      VARCHAR NOT NULL CHECK (axis IN ('image_quality', 'semantic_understanding', 'text_rendering')),
    scorer    VARCHAR NOT NULL,
    metric    VARCHAR NOT NULL,
    minimum   DOUBLE,
    maximum   DOUBLE,
    one_of    VARCHAR[],
    validated BOOLEAN NOT NULL,
    CHECK (minimum IS NOT NULL OR maximum IS NOT NULL OR one_of IS NOT NULL)
);
COMMENT ON TABLE policy IS 'The image gates in force, one row for each gate and axis.';
COMMENT ON COLUMN policy.gate IS 'name of the gate in the recipe';
COMMENT ON COLUMN policy.decision IS 'what the gate decides about';
COMMENT ON COLUMN policy.axis IS 'axis it applies to';
COMMENT ON COLUMN policy.scorer IS 'scorer whose metric is gated';
COMMENT ON COLUMN policy.metric IS 'metric that is gated';
COMMENT ON COLUMN policy.minimum IS 'smallest value that passes; null: no lower bound';
COMMENT ON COLUMN policy.maximum IS 'largest value that passes; null: no upper bound';
COMMENT ON COLUMN policy.one_of IS 'details that pass; null: the detail is not looked at';
COMMENT ON COLUMN policy.validated IS 'whether the bound was measured against labels or a known truth';
