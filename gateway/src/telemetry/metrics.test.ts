// Guards the numbers that dashboards and alerts rely on: their names, what counts as an error, and that nothing a
// client writes becomes a label.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backend, BackendLoad } from '../core/backend.ts';
import { ERROR_TRAITS, type ErrorCode } from '../core/errors.ts';
import { newRecord, type RequestOutcome, type RequestRecord } from '../core/observer.ts';
import { Metrics } from './metrics.ts';

const NONE = {
  backends: () => [],
  queue: () => ({ waiting: 0, running: 0 }),
  placesOn: () => 0,
  kept: () => ({ count: 0, bytes: 0 }),
  sockets: () => ({ connections: 0, frames: {} }),
  limits: () => [],
};

function backend(id: string, load: BackendLoad): Backend {
  return {
    id,
    load: () => load,
    onLoadChange: () => () => {},
    chat: () => Promise.reject(new Error('not asked here')),
    async close() {},
  };
}

function record(rest: Partial<RequestRecord> = {}): RequestRecord {
  return {
    ...newRecord('request', 'generate_stream', 'someone', 0),
    model: 'm',
    streamed: true,
    admitted: true,
    backend: 'engine',
    speaker: 'a model',
    queueMs: 0,
    ...rest,
  };
}

/** The samples of one scrape by name and labels, as they are written. */
async function scrape(metrics: Metrics): Promise<Map<string, number>> {
  const { text } = await metrics.render();
  const samples = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const at = line.lastIndexOf(' ');
    samples.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return samples;
}

test('every name of the contract is there from the start', async () => {
  const text = (await new Metrics(NONE).render()).text;
  for (const [name, type] of [
    ['api_latency_seconds', 'histogram'],
    ['error_rate', 'gauge'],
    ['gpu_utilization', 'gauge'],
    ['sluice_refusals_total', 'counter'],
    ['sluice_requests_total', 'counter'],
    ['sluice_requests_running', 'gauge'],
    ['sluice_requests_waiting', 'gauge'],
    ['sluice_slots', 'gauge'],
    ['sluice_queue_seconds', 'histogram'],
    ['sluice_time_to_first_token_seconds', 'histogram'],
    ['sluice_prediction_error_seconds', 'histogram'],
    ['sluice_time_to_first_answer_seconds', 'histogram'],
    ['sluice_inter_token_seconds', 'histogram'],
    ['sluice_engine_step_seconds', 'histogram'],
    ['sluice_stutters_total', 'counter'],
    ['sluice_prompt_tokens_total', 'counter'],
    ['sluice_cached_tokens_total', 'counter'],
    ['sluice_completion_tokens_total', 'counter'],
    ['sluice_backend_up', 'gauge'],
    ['sluice_backend_state', 'gauge'],
    ['sluice_failovers_total', 'counter'],
    ['sluice_continuations_total', 'counter'],
    ['sluice_degraded_total', 'counter'],
    ['sluice_event_loop_delay_seconds', 'gauge'],
  ] as const) {
    assert.ok(text.includes(`# TYPE ${name} ${type}\n`), `${name} as ${type}`);
  }
});

test('the content type is that of the Prometheus text format', async () => {
  assert.match((await new Metrics(NONE).render()).contentType, /^text\/plain; version=0\.0\.4/);
});

test('the error rate is failures over admitted requests, and a client that left is no failure', async () => {
  const metrics = new Metrics(NONE);
  assert.equal((await scrape(metrics)).get('error_rate'), 0);
  metrics.ended(record(), 'ok', 10);
  metrics.ended(record(), 'cancelled', 10);
  metrics.ended(record(), 'slow_reader', 10);
  metrics.ended(record(), 'backend_failed', 10);
  assert.equal((await scrape(metrics)).get('error_rate'), 0.25);
});

test('of all outcomes exactly those with a 5xx that are no refusal raise the error rate', async () => {
  const codes = Object.keys(ERROR_TRAITS) as ErrorCode[];
  const failures: RequestOutcome[] = [];
  for (const outcome of ['ok', ...codes] as const) {
    const metrics = new Metrics(NONE);
    metrics.ended(record(), outcome, 10);
    if ((await scrape(metrics)).get('error_rate') === 1) failures.push(outcome);
  }
  const expected = [
    'queue_timeout',
    'deadline_exceeded',
    'backend_busy',
    'backend_failed',
    'backend_timeout',
    'loop_detected',
    'internal',
  ];
  assert.deepEqual(failures.sort(), expected.sort());
});

test('a burst that is refused at the door fires no alert and is counted by its reasons', async () => {
  const metrics = new Metrics(NONE);
  metrics.ended(record(), 'ok', 10);
  for (let i = 0; i < 50; i++) metrics.ended(record(), 'overloaded', 1);
  metrics.ended(record({ admitted: false }), 'not_ready', 1);
  metrics.ended(record({ admitted: false }), 'rate_limited', 1);
  const samples = await scrape(metrics);
  assert.equal(samples.get('error_rate'), 0);
  assert.equal(samples.get('sluice_refusals_total{reason="overloaded"}'), 50);
  assert.equal(samples.get('sluice_refusals_total{reason="not_ready"}'), 1);
  assert.equal(samples.get('sluice_refusals_total{reason="rate_limited"}'), 1);
  assert.equal(
    samples.get('api_latency_seconds_count'),
    1,
    'a refusal is quick and must not flatter the latency',
  );
});

test('what was never admitted counts as a request and nothing else', async () => {
  const metrics = new Metrics(NONE);
  metrics.ended(record({ admitted: false, model: 'other' }), 'invalid_request', 10);
  metrics.ended(record({ admitted: false }), 'internal', 10);
  const samples = await scrape(metrics);
  assert.equal(
    samples.get('sluice_requests_total{route="generate_stream",model="other",outcome="invalid_request"}'),
    1,
  );
  assert.equal(samples.get('error_rate'), 0);
  assert.equal(samples.get('api_latency_seconds_count'), 0);
});

test('the error rate forgets after five minutes, and not before', async (context) => {
  let now = 1_000_000;
  context.mock.method(performance, 'now', () => now);
  const metrics = new Metrics(NONE);
  metrics.ended(record(), 'internal', 10);
  now += 4 * 60_000;
  metrics.ended(record(), 'ok', 10);
  assert.equal((await scrape(metrics)).get('error_rate'), 0.5);
  now += 60_000;
  assert.equal((await scrape(metrics)).get('error_rate'), 0.5);
  now += 20_000;
  assert.equal((await scrape(metrics)).get('error_rate'), 0);
  now += 5 * 60_000;
  assert.equal((await scrape(metrics)).get('error_rate'), 0, 'an empty window is no failure');
});

test('times are seconds, tokens are summed, what is unknown adds nothing', async () => {
  const metrics = new Metrics(NONE);
  const usage = { promptTokens: 10, cachedTokens: 4, completionTokens: 7 };
  metrics.ended(record({ firstTokenMs: 250, firstAnswerMs: 1_500, usage }), 'ok', 3_000);
  metrics.ended(record({ usage: { promptTokens: 1 } }), 'ok', 1_000);
  metrics.started(record({ queueMs: 40 }));
  metrics.engineStep(0.02);
  const samples = await scrape(metrics);
  const sums = {
    api_latency_seconds_sum: 4,
    api_latency_seconds_count: 2,
    sluice_time_to_first_token_seconds_sum: 0.25,
    sluice_time_to_first_token_seconds_count: 1,
    sluice_time_to_first_answer_seconds_sum: 1.5,
    sluice_queue_seconds_sum: 0.04,
    sluice_engine_step_seconds_sum: 0.02,
    sluice_prompt_tokens_total: 11,
    sluice_cached_tokens_total: 4,
    sluice_completion_tokens_total: 7,
  };
  for (const [name, value] of Object.entries(sums)) assert.equal(samples.get(name), value, name);
});

test('a prediction that came too late or too early is told so, but not of who did not speak in the end', async () => {
  const metrics = new Metrics(NONE);
  const ended = (rest: Partial<RequestRecord>) => metrics.ended(record(rest), 'ok', 1_000);
  ended({ predictedFirstTokenMs: 300, firstTokenMs: 400 });
  ended({ predictedFirstTokenMs: 700, firstTokenMs: 200 });
  ended({ predictedFirstTokenMs: 300, firstTokenMs: 9_000, failovers: 1 });
  ended({ firstTokenMs: 400 });
  ended({ predictedFirstTokenMs: 300 });
  const samples = await scrape(metrics);
  const below = (seconds: string) => samples.get(`sluice_prediction_error_seconds_bucket{le="${seconds}"}`);
  assert.deepEqual([below('-1'), below('-0.5'), below('0.05'), below('0.1'), below('+Inf')], [0, 1, 1, 2, 2]);
});

test('silences are told by model; what a reader heard of them over half a second, also by back end', async () => {
  const metrics = new Metrics(NONE);
  for (const gapMs of [20, 500, 501]) metrics.gap(record(), gapMs, gapMs);
  metrics.gap(record({ model: 'n', backend: 'b' }), 900, 0);
  metrics.gap(record({ model: 'n', backend: 'b' }), 900, 800);
  const samples = await scrape(metrics);
  assert.equal(samples.get('sluice_stutters_total{model="m",backend="engine"}'), 1);
  assert.equal(samples.get('sluice_stutters_total{model="n",backend="b"}'), 1);
  assert.equal(samples.get('sluice_inter_token_seconds_count{model="m"}'), 3);
  assert.equal(samples.get('sluice_inter_token_seconds_sum{model="m"}'), 1.021);
  assert.equal(samples.get('sluice_inter_token_seconds_count{model="n"}'), 2);
});

test('each step that an answer was given up for counts, and none of a refusal', async () => {
  const metrics = new Metrics(NONE);
  metrics.ended(record({ degraded: ['trimmed', 'spill'] }), 'ok', 10);
  metrics.ended(record({ degraded: ['trimmed'] }), 'cancelled', 10);
  metrics.ended(record({ degraded: ['trimmed'] }), 'overloaded', 10);
  const samples = await scrape(metrics);
  assert.equal(samples.get('sluice_degraded_total{step="trimmed"}'), 2);
  assert.equal(samples.get('sluice_degraded_total{step="spill"}'), 1);
});

test('queue and back ends are read as they are at the scrape, and what is gone leaves the picture', async () => {
  let backends = [
    backend('a', { state: 'ready', slots: 4, utilization: 0.5 }),
    backend('b', { state: 'loading', slots: 0 }),
  ];
  let queue = { waiting: 3, running: 4 };
  const metrics = new Metrics({
    ...NONE,
    backends: () => backends,
    queue: () => queue,
    placesOn: () => 3,
  });
  const before = await scrape(metrics);
  assert.equal(before.get('sluice_requests_waiting'), 3);
  assert.equal(before.get('sluice_requests_running'), 4);
  assert.equal(before.get('sluice_slots{backend="a"}'), 4);
  assert.equal(before.get('sluice_backend_limit{backend="a"}'), 3);
  assert.equal(before.get('sluice_backend_up{backend="a"}'), 1);
  assert.equal(before.get('sluice_backend_up{backend="b"}'), 0);
  assert.equal(before.get('sluice_backend_state{backend="b",state="loading"}'), 1);
  assert.equal(before.get('sluice_backend_state{backend="b",state="ready"}'), 0);
  assert.equal(before.get('gpu_utilization{source="engine"}'), 0.5);
  backends = backends.slice(0, 1);
  queue = { waiting: 0, running: 0 };
  const after = await scrape(metrics);
  assert.equal(after.get('sluice_requests_waiting'), 0);
  assert.equal(after.has('sluice_backend_up{backend="b"}'), false);
});

test('labels are made of the closed sets of the record only: not of id, tenant, speaker or priority', async () => {
  const metrics = new Metrics(NONE);
  const written = { id: 'from-client', tenant: 'a-tenant', speaker: 'a-speaker', backend: 'a-backend' };
  metrics.ended(record({ ...written, model: 'other' }), 'model_not_found', 1);
  metrics.failedOver(record(written), 'backend_busy');
  metrics.continued(record(written), 'ids');
  metrics.continued(record(written), 'rethink');
  metrics.hedged(record(written), 'won');
  metrics.preempted();
  const { text } = await metrics.render();
  assert.match(
    text,
    /sluice_requests_total\{route="generate_stream",model="other",outcome="model_not_found"\} 1/,
  );
  assert.match(text, /sluice_failovers_total\{code="backend_busy"\} 1/);
  assert.match(text, /sluice_continuations_total\{kind="ids"\} 1/);
  assert.match(text, /sluice_continuations_total\{kind="rethink"\} 1/);
  assert.match(text, /sluice_hedges_total\{result="won"\} 1/);
  assert.match(text, /sluice_preemptions_total 1/);
  for (const value of Object.values(written)) assert.doesNotMatch(text, new RegExp(value));
});

test('sockets and their frames are read at the scrape, and counts only rise', async () => {
  const frames = { call: 1, event: 7 };
  const metrics = new Metrics({ ...NONE, sockets: () => ({ connections: 3, frames }) });
  await scrape(metrics);
  frames.event = 9;
  const values = await scrape(metrics);
  assert.equal(values.get('sluice_socket_connections'), 3);
  assert.equal(values.get('sluice_socket_frames_total{kind="call"}'), 1);
  assert.equal(values.get('sluice_socket_frames_total{kind="event"}'), 9);
});

test('what is kept is read at the scrape, and who comes for it is counted by what became of it', async () => {
  const metrics = new Metrics({ ...NONE, kept: () => ({ count: 2, bytes: 8192 }) });
  metrics.resumed('resumed');
  metrics.resumed('resumed');
  metrics.resumed('gone');
  const values = await scrape(metrics);
  assert.equal(values.get('sluice_kept_answers'), 2);
  assert.equal(values.get('sluice_kept_bytes'), 8192);
  assert.equal(values.get('sluice_resumes_total{outcome="resumed"}'), 2);
  assert.equal(values.get('sluice_resumes_total{outcome="gone"}'), 1);
});

test("a model's limits and what is used of them are told by their names", async () => {
  const limits = () => [{ model: 'm', name: 'rpm', limit: 60, used: 12 }];
  const values = await scrape(new Metrics({ ...NONE, limits }));
  assert.equal(values.get('sluice_model_limit{model="m",limit="rpm"}'), 60);
  assert.equal(values.get('sluice_model_limit_used{model="m",limit="rpm"}'), 12);
});
