// Guards the log: one JSON line for each request, on standard error, with the story and never the words; and that no
// line is lost when the process ends right after it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import type { LogLevel } from '../core/log.ts';
import { newRecord, type RequestOutcome, type RequestRecord } from '../core/observer.ts';
import { allObservers, requestLog } from './logger.ts';

/** What a process writes that imports `createLog` and runs the statements. */
async function written(statements: string): Promise<{ stdout: string; stderr: string }> {
  const source = `
    import { createLog } from ${JSON.stringify(new URL('./logger.ts', import.meta.url).href)};
    const plain = { level: 'info', isTerminal: false, useColour: false };
    ${statements}`;
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', source];
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  await new Promise((resolve) => child.once('close', resolve));
  return { stdout, stderr };
}

function record(rest: Partial<RequestRecord> = {}): RequestRecord {
  return {
    ...newRecord('request-1', 'generate_stream', 'alice', 0),
    model: 'm',
    streamed: true,
    admitted: true,
    backend: 'engine',
    speaker: 'a model',
    queueMs: 1.26,
    firstTokenMs: 20,
    firstAnswerMs: 30,
    longestGapMs: 600,
    stutters: 2,
    continued: 1,
    preempted: 3,
    degraded: ['trimmed', 'shorter'],
    usage: { promptTokens: 3, completionTokens: 4 },
    ...rest,
  };
}

interface Line {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** The line that the request's end makes. */
function lineOf(outcome: RequestOutcome, cause?: unknown, rest: Partial<RequestRecord> = {}): Line {
  const lines: Line[] = [];
  const observer = requestLog((level, message, fields = {}) => lines.push({ level, message, fields }));
  observer.ended?.(record(rest), outcome, 1234.56, cause);
  assert.equal(lines.length, 1);
  return lines[0]!;
}

test('lines are JSON on standard error, one each, with level, time, message, fields and the stack of a cause', async () => {
  const { stdout, stderr } = await written(`
    const log = createLog(plain);
    createLog({ ...plain, level: 'silent' })('error', 'never');
    log('debug', 'below the level');
    log('info', 'hello', { id: 'a\\nb' });
    log('warn', 'again');
    log('error', 'one', { cause: new TypeError('broken') });
    log('error', 'two', { cause: 'words' });
  `);
  assert.equal(stdout, '');
  const lines = stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    lines.map(({ level, msg, id }) => [level, msg, id]),
    [
      [30, 'hello', 'a\nb'],
      [40, 'again', undefined],
      [50, 'one', undefined],
      [50, 'two', undefined],
    ],
  );
  for (const { time } of lines) assert.ok(!Number.isNaN(Date.parse(time)), `${time}`);
  assert.match(lines[2].cause, /TypeError: broken\n +at /);
  assert.equal(lines[3].cause, 'words');
});

test('no line is lost when the process exits at once, on a terminal or not', async () => {
  const many = (isTerminal: boolean) => `
    const log = createLog({ ...plain, isTerminal: ${isTerminal} });
    for (let i = 0; i < 500; i++) log('info', 'line ' + i + '.');
    process.exit(0);`;
  const [json, pretty] = await Promise.all([written(many(false)), written(many(true))]);
  for (const { stderr } of [json, pretty]) {
    assert.equal(stderr.trimEnd().split('\n').length, 500);
    assert.match(stderr, /line 499\./);
  }
  assert.doesNotMatch(pretty.stderr, /^\{/m, 'for people');
  assert.ok(!pretty.stderr.includes('\u001b'), 'without colours unless wanted');
});

test('lines leave by themselves, also where no more follow and the process is killed', async () => {
  const { stderr } = await written(`
    const log = createLog(plain);
    log('info', 'one');
    log('info', 'two');
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 1_000);`);
  assert.equal(stderr.trimEnd().split('\n').length, 2);
});

test('each line bears its own time, to the millisecond', async () => {
  const times = [0, 7, 999, 1_000, 61_042, 1_700_000_000_123, 999];
  const { stderr } = await written(`
    let now = 0;
    Date.now = () => now;
    const log = createLog(plain);
    for (now of ${JSON.stringify(times)}) log('info', 'line');`);
  const lines = stderr.trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).time),
    times.map((time) => new Date(time).toISOString()),
  );
});

test("a request's line tells its story: who, where, how long, how many tokens", () => {
  assert.deepEqual(lineOf('ok'), {
    level: 'info',
    message: 'answered',
    fields: {
      id: 'request-1',
      route: 'generate_stream',
      model: 'm',
      outcome: 'ok',
      tenant: 'alice',
      priority: 'standard',
      backend: 'engine',
      queue_ms: 1.3,
      predicted_first_token_ms: undefined,
      first_token_ms: 20,
      total_ms: 1234.6,
      prompt_tokens: 3,
      cached_tokens: undefined,
      completion_tokens: 4,
      stutters: 2,
      failovers: undefined,
      continued: 1,
      hedged: undefined,
      preempted: 3,
      degraded: 'trimmed,shorter',
    },
  });
});

test('the line holds nothing but these fields: no place where a prompt or an answer could stand', () => {
  const cause = new Error('below');
  const known = [
    'id',
    'route',
    'model',
    'outcome',
    'tenant',
    'priority',
    'backend',
    'queue_ms',
    'predicted_first_token_ms',
    'first_token_ms',
    'total_ms',
  ];
  const tokens = [
    'prompt_tokens',
    'cached_tokens',
    'completion_tokens',
    'stutters',
    'failovers',
    'continued',
    'hedged',
    'preempted',
    'degraded',
  ];
  assert.deepEqual(Object.keys(lineOf('internal', cause).fields), [...known, ...tokens, 'cause']);
  assert.equal(lineOf('internal', cause).fields.cause, cause);
  const smuggled = { ...record(), prompt: 'the secret words' };
  assert.doesNotMatch(JSON.stringify(lineOf('ok', undefined, smuggled)), /secret words/);
});

test('the level says whose fault it was', () => {
  const levels: [RequestOutcome, LogLevel][] = [
    ['ok', 'info'],
    ['cancelled', 'info'],
    ['invalid_request', 'info'],
    ['unauthenticated', 'info'],
    ['slow_reader', 'info'],
    ['overloaded', 'warn'],
    ['backend_failed', 'warn'],
    ['deadline_exceeded', 'warn'],
    ['internal', 'error'],
  ];
  for (const [outcome, level] of levels) assert.equal(lineOf(outcome).level, level, outcome);
});

test('several observers are told in order, each of everything that it wants to hear', () => {
  const heard: string[] = [];
  const all = allObservers(
    {
      started: ({ id }) => heard.push(`1 started ${id}`),
      ended: (_record, outcome, totalMs, cause) => heard.push(`1 ended ${outcome} ${totalMs} ${cause}`),
    },
    {
      started: () => heard.push('2 started'),
      gap: (_record, gapMs, heardMs) => heard.push(`2 gap ${gapMs} ${heardMs}`),
      failedOver: (_record, code) => heard.push(`2 failed over ${code}`),
      continued: (_record, kind) => heard.push(`2 continued ${kind}`),
      hedged: (_record, result) => heard.push(`2 hedge ${result}`),
      preempted: () => heard.push('2 preempted'),
      ended: () => heard.push('2 ended'),
    },
  );
  all.started?.(record());
  all.gap?.(record(), 5, 4);
  all.failedOver?.(record(), 'backend_busy');
  all.continued?.(record(), 'text');
  all.hedged?.(record(), 'lost');
  all.preempted?.(record());
  all.ended?.(record(), 'internal', 7, 'why');
  assert.deepEqual(heard, [
    '1 started request-1',
    '2 started',
    '2 gap 5 4',
    '2 failed over backend_busy',
    '2 continued text',
    '2 hedge lost',
    '2 preempted',
    '1 ended internal 7 why',
    '2 ended',
  ]);
});
