-- version 1
CREATE TABLE forecast (
    part   VARCHAR NOT NULL CHECK (part IN ('rows', 'time', 'money', 'disk', 'memory', 'download', 'trainer')),
    item   VARCHAR NOT NULL,
    axis   VARCHAR CHECK (axis IN ('image_quality', 'semantic_understanding', 'text_rendering')),
    unit   VARCHAR NOT NULL CHECK (unit IN ('rows', 'pictures', 'seconds', 'gpu_seconds', 'currency', 'bytes')),
    low    DOUBLE NOT NULL,
    expected DOUBLE,
    high   DOUBLE,
    basis  VARCHAR NOT NULL CHECK (basis IN ('known', 'pilot', 'earlier_run', 'published', 'recipe')),
    detail VARCHAR,
    CHECK (low <= expected AND expected <= high)
);
COMMENT ON TABLE forecast IS 'What promptforge plan expected of a run before it began.';
COMMENT ON COLUMN forecast.part IS 'rows by stage, time, money, disk by table, memory, downloads, or bytes that a trainer reads';
COMMENT ON COLUMN forecast.item IS 'stage, table, file or trainer mode';
COMMENT ON COLUMN forecast.axis IS 'axis; null: all of them';
COMMENT ON COLUMN forecast.unit IS 'unit of the numbers; gpu_seconds: of ranks, added up over them';
COMMENT ON COLUMN forecast.low IS 'lower end of what is likely (95%), or the least that is possible where nothing is known';
COMMENT ON COLUMN forecast.expected IS 'what is expected; null: unknown';
COMMENT ON COLUMN forecast.high IS 'upper end of what is likely (95%), or the most that is possible; null: unknown';
COMMENT ON COLUMN forecast.basis IS 'the weakest thing that it rests on: counted or stated exactly, a pilot, an earlier run, a published figure, or the recipe alone (bounds)';
COMMENT ON COLUMN forecast.detail IS 'what the numbers were worked out from';
