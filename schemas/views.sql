-- Views over the tables: the same that the report, the command line and a person use.

CREATE VIEW kept AS
SELECT p.* FROM prompts p
WHERE p.text_clean IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM verdicts v WHERE v.row_id = p.row_id AND v.verdict = 'drop');
COMMENT ON VIEW kept IS 'Prompts that no check dropped.';

CREATE VIEW withheld AS
SELECT DISTINCT row_id, prompt_id, reason FROM verdicts WHERE reason = 'unsafe_sexual_minors';
COMMENT ON VIEW withheld IS 'Rows whose text no report, view or command shows: hash and reason stay. promptforge purge removes the text.';

CREATE VIEW fates AS
SELECT p.row_id, p.prompt_id, p.source, p.source_part, p.source_row, p.axis, p.category,
    CASE WHEN d.row_id IS NOT NULL AND d.stage = 'generate' AND d.check_name = 'source' THEN 'unreadable'
         WHEN d.row_id IS NOT NULL THEN 'dropped'
         ELSE coalesce(s.state, 'undecided') END AS fate,
    CASE WHEN d.row_id IS NOT NULL THEN d.stage ELSE 'select' END AS stage,
    d.check_name,
    coalesce(d.reason, s.reason) AS reason
FROM prompts p
LEFT JOIN verdicts d ON d.row_id = p.row_id AND d.verdict = 'drop'
LEFT JOIN selection s ON s.row_id = p.row_id;
COMMENT ON VIEW fates IS 'One row for each input row and what became of it: unreadable, dropped, not_needed, not_selected or accepted; undecided before select has run.';

CREATE VIEW funnel AS
WITH steps AS (
    SELECT 0 AS step, 'generate' AS stage, 'rows in' AS check_name, axis, count(*) AS n_in, 0 AS n_dropped, '' AS reason
    FROM prompts GROUP BY axis
    UNION ALL
    SELECT CASE stage WHEN 'generate' THEN 1 WHEN 'filter' THEN 2 WHEN 'dedup' THEN 3
        WHEN 'decontaminate' THEN 4 ELSE 5 END,
        stage, coalesce(check_name, fate), axis, NULL, count(*), reason
    FROM fates WHERE fate NOT IN ('accepted', 'undecided') GROUP BY ALL
)
SELECT step, stage, check_name, reason, axis, n_in, n_dropped FROM steps
ORDER BY axis, step, check_name, reason;
COMMENT ON VIEW funnel IS 'Rows in, and rows lost by stage, check, reason and axis.';

CREATE VIEW rejects AS
SELECT p.row_id, p.prompt_id, p.source, p.source_part, p.source_row, p.axis,
    CASE WHEN w.row_id IS NULL THEN p.text END AS text, f.fate, f.stage, f.check_name,
    f.reason, v.value, v.threshold, CASE WHEN w.row_id IS NULL THEN v.detail END AS detail
FROM fates f
JOIN prompts p ON p.row_id = f.row_id
LEFT JOIN verdicts v ON v.row_id = f.row_id AND v.verdict = 'drop'
LEFT JOIN withheld w ON w.row_id = f.row_id
WHERE f.fate <> 'accepted';
COMMENT ON VIEW rejects IS 'Every input row that is not accepted, with stage, check, value, threshold and reason.';

CREATE VIEW near_misses AS
SELECT p.row_id, p.prompt_id, p.axis, p.text, v.stage, v.check_name, v.reason, v.value, v.threshold, v.detail
FROM verdicts v JOIN prompts p ON p.row_id = v.row_id ANTI JOIN withheld w ON w.row_id = v.row_id
WHERE v.verdict = 'near_miss';
COMMENT ON VIEW near_misses IS 'Prompts that passed, but close to a threshold.';

CREATE VIEW accepted AS
SELECT p.row_id, p.prompt_id, p.text_clean AS text, p.axis, p.category, p.style, p.expected_text, p.scene, p.source,
    p.licence, p.pair_id, p.split_group, s.split, s.keep_image, s.image_id, s.image_reason, s.n_takes, s.n_passed,
    p.n_words, p.n_chars
FROM selection s JOIN prompts p ON p.row_id = s.row_id
WHERE s.keep_prompt;
COMMENT ON VIEW accepted IS 'The prompt set: what the trainer may see.';

CREATE VIEW cells AS
SELECT row_id, prompt_id, axis, category, style,
    CASE WHEN n_words <= 5 THEN '01-05' WHEN n_words <= 10 THEN '06-10' WHEN n_words <= 20 THEN '11-20'
         WHEN n_words <= 40 THEN '21-40' ELSE '41+' END AS words
FROM prompts WHERE text_clean IS NOT NULL AND row_id NOT IN (SELECT row_id FROM withheld);
COMMENT ON VIEW cells IS 'The cell of each readable row that is not withheld: axis, category, style, length in words.';

CREATE VIEW coverage AS
WITH rows AS (
    SELECT c.axis, c.category, c.style, c.words, coalesce(s.keep_prompt, false) AS is_in,
        coalesce(s.keep_image, false) AS has_image, n.nouns, v.check_name = 'near_duplicate' AS is_near,
        v.row_id IS NULL AS is_kept
    FROM cells c
    LEFT JOIN selection s ON s.row_id = c.row_id
    LEFT JOIN prompt_nouns n ON n.prompt_id = s.prompt_id AND s.keep_prompt
    LEFT JOIN verdicts v ON v.row_id = c.row_id AND v.verdict = 'drop'
)
SELECT axis, category, style, words, count(*) FILTER (is_in) AS n_prompts, count(*) FILTER (has_image) AS n_images,
    coalesce(sum(len(nouns)), 0)::BIGINT AS noun_pairs,
    coalesce(len(list_distinct(flatten(list(nouns) FILTER (nouns IS NOT NULL)))), 0)::BIGINT AS unique_nouns,
    sum(len(nouns)) / count(nouns) AS nouns_per_prompt,
    count(*) FILTER (is_near) / nullif(count(*) FILTER (is_near OR is_kept), 0) AS near_duplicate_share
FROM rows GROUP BY axis, category, style, words HAVING count(*) FILTER (is_in OR is_kept OR is_near) > 0
ORDER BY axis, category, style, words;
COMMENT ON VIEW coverage IS 'Accepted prompts by axis, category, style and length in words, also cells whose prompts are none of them: I-N, UN and N/I (arXiv 2404.02883), and near duplicates of those and the kept.';

CREATE VIEW scores_in_force AS
SELECT s.image_id, s.scorer, s.metric, s.value, s.detail
FROM scores s SEMI JOIN measured m ON m.image_id = s.image_id AND m.scorer = s.scorer AND m.digest = s.digest;
COMMENT ON VIEW scores_in_force IS 'The scores that the decisions rest on: of the recipe''s pictures, by its scorers as they are now.';

CREATE VIEW ocr_misreads AS
SELECT i.image_id, p.prompt_id, p.text_clean AS text, p.expected_text,
    max(s.value) FILTER (s.metric = 'cer') AS cer,
    max(s.detail) FILTER (s.metric = 'verdict') AS verdict,
    max(s.detail) FILTER (s.metric = 'reading') AS reading
FROM scores_in_force s
JOIN images i ON i.image_id = s.image_id
JOIN kept p ON p.prompt_id = i.prompt_id
WHERE s.scorer = 'text'
GROUP BY ALL
HAVING max(s.detail) FILTER (s.metric = 'verdict') <> 'read';
COMMENT ON VIEW ocr_misreads IS 'Pictures of the plan whose text was not read as wanted, with the reading.';

CREATE VIEW teachers AS
SELECT teacher, any_value(regime) AS regime, count(*) AS n_images, count(error) AS n_errors,
    avg((json_extract_string(truth, '$.mistake') IS NOT NULL)::DOUBLE) FILTER (truth IS NOT NULL) AS mistake_share
FROM images GROUP BY teacher ORDER BY teacher;
COMMENT ON VIEW teachers IS 'Teachers that drew pictures here, with errors and, for an embedded teacher, its true share of mistakes.';

CREATE VIEW cost_by_stage AS
SELECT stage, sum(n_rows) AS n_rows, sum(seconds) AS seconds, sum(n_rows) / nullif(sum(seconds), 0) AS rows_per_s
FROM cost GROUP BY stage ORDER BY seconds DESC;
COMMENT ON VIEW cost_by_stage IS 'Clock time by stage over every run of this folder.';

CREATE VIEW take_yield AS
WITH counted AS (
    SELECT o.axis, o.fixed, t.take, count(*) AS n_prompts,
        count(*) FILTER (o.n_takes > t.take AND (o.first_pass IS NULL OR o.first_pass >= t.take)) AS n_tried,
        count(*) FILTER (o.first_pass = t.take) AS n_new,
        count(*) FILTER (o.first_pass <= t.take) AS n_passed
    FROM take_outcomes o
    JOIN (SELECT fixed, unnest(range(max(n_takes)))::INTEGER AS take FROM take_outcomes GROUP BY fixed) t
        ON t.fixed = o.fixed
    GROUP BY CUBE (o.axis), o.fixed, t.take
), price AS (
    SELECT sum(seconds) / nullif(sum(n_rows), 0) AS seconds FROM cost WHERE stage = 'render'
)
SELECT coalesce(axis, 'all') AS axis, fixed, take, n_tried, n_new, n_new / nullif(n_tried, 0) AS new_share,
    n_prompts, n_passed / n_prompts AS passed_share,
    n_tried / nullif(n_new, 0) AS renders_each,
    n_tried * price.seconds / nullif(n_new, 0) AS seconds_each
FROM counted CROSS JOIN price WHERE n_tried > 0
ORDER BY axis, fixed, take;
COMMENT ON VIEW take_yield IS 'What each take brought, from take 0: prompts without a pass before it that were tried (n_tried), how many of these passed first at it (n_new), share of all prompts that passed up to it, renders and seconds of drawing for each that it brought. Fixed: prompts of which every take was wanted, tried on as if they had stopped; the others stopped at their first pass, or where a quota or budget was reached.';

CREATE VIEW llm_cost AS
SELECT task, model, sum(n_requests)::BIGINT AS n_requests, sum(n_tokens_in)::BIGINT AS n_tokens_in,
    sum(n_tokens_out)::BIGINT AS n_tokens_out, sum(seconds) AS seconds,
    sum(n_tokens_out) / nullif(sum(seconds), 0) AS tokens_per_s, sum(price) AS price
FROM llm_usage GROUP BY task, model ORDER BY task, model;
COMMENT ON VIEW llm_cost IS 'What each language model was asked, by task: tokens, tokens answered a second, price. Failed tries count.';

CREATE VIEW contamination_report AS
SELECT c.benchmark, c.rule, c.action, count(*) AS n_prompts,
    count(DISTINCT c.benchmark_prompt_id) AS n_benchmark_prompts,
    count(*) FILTER (p.axis = 'image_quality') AS n_image_quality,
    count(*) FILTER (p.axis = 'semantic_understanding') AS n_semantic_understanding,
    count(*) FILTER (p.axis = 'text_rendering') AS n_text_rendering
FROM contamination c JOIN prompts p ON p.row_id = c.row_id
GROUP BY ALL ORDER BY ALL;
COMMENT ON VIEW contamination_report IS 'Prompts in which something of a benchmark was found, by benchmark and rule; a prompt counts once for each rule.';

CREATE VIEW gap_refill AS
WITH got AS (
    SELECT c.axis, c.category, c.words, count(*) AS n_accepted, count(*) / sum(count(*)) OVER (PARTITION BY c.axis) AS share
    FROM cells c JOIN selection s USING (row_id) WHERE s.keep_prompt GROUP BY c.axis, c.category, c.words
)
SELECT g.axis, g.category, g.words, g.n_measured, g.gap, g.estimate, g.factor, g.n_candidates, g.candidate_share,
    g.wanted_share, coalesce(got.n_accepted, 0) AS n_accepted, coalesce(got.share, 0) AS accepted_share
FROM gap_cells g
LEFT JOIN got ON got.axis = g.axis AND got.words = g.words AND got.category IS NOT DISTINCT FROM g.category
ORDER BY g.axis, g.factor DESC, g.category, g.words;
COMMENT ON VIEW gap_refill IS 'Cells by how far the student is off, with the share that student_gap wants for each and what was accepted.';

CREATE VIEW plan_against_actual AS
WITH done AS (
    SELECT p.row_id, p.axis, k.row_id IS NOT NULL AS is_kept, s.keep_prompt, d.prompt_id IS NOT NULL AS is_published,
        d.keep_image
    FROM prompts p
    LEFT JOIN kept k ON k.row_id = p.row_id
    LEFT JOIN selection s ON s.row_id = p.row_id
    LEFT JOIN published d ON d.prompt_id = s.prompt_id
), drawn AS (
    SELECT k.axis, r.prompt_id, i.error FROM render_plan r JOIN images i USING (image_id) JOIN kept k ON k.prompt_id = r.prompt_id
), actual AS (
    SELECT 'candidates' AS item, axis, count(*) AS actual FROM done GROUP BY axis
    UNION ALL SELECT 'kept', axis, count(*) FILTER (is_kept) FROM done GROUP BY axis
    UNION ALL SELECT 'prompts', axis, count(DISTINCT prompt_id) FROM drawn GROUP BY axis
    UNION ALL SELECT 'pictures', axis, count(*) FROM drawn GROUP BY axis
    UNION ALL SELECT 'accepted', axis, count(*) FILTER (keep_prompt) FROM done GROUP BY axis
    UNION ALL SELECT 'published', axis, count(*) FILTER (is_published) FROM done GROUP BY axis
    UNION ALL SELECT 'usable', axis, count(*) FILTER (is_published AND keep_image) FROM done GROUP BY axis
), known AS (
    SELECT 'rows' AS part, item, axis, actual FROM actual WHERE axis IS NOT NULL
    UNION ALL SELECT 'rows', item, NULL, sum(actual) FROM actual GROUP BY item
    UNION ALL SELECT 'time', stage, NULL, sum(seconds) FROM cost GROUP BY stage
)
SELECT f.part, f.item, f.axis, f.unit, f.low, f.expected, f.high, f.basis, coalesce(k.actual, 0)::DOUBLE AS actual,
    f.expected / nullif(k.actual, 0) - 1 AS error_share
FROM forecast f
LEFT JOIN known k ON k.part = f.part AND k.item = f.item AND k.axis IS NOT DISTINCT FROM f.axis
WHERE f.part = 'rows' OR (f.part = 'time' AND f.unit = 'seconds' AND f.item <> 'all')
ORDER BY f.part, f.item, f.axis;
COMMENT ON VIEW plan_against_actual IS 'The saved forecast beside what came: rows by stage and axis, clock time by stage over every run of this folder; error_share is expected / actual - 1. Disk is compared by promptforge plan --against.';
