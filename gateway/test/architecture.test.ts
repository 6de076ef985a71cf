// The house's rules, as a test: who may import whom, what only some rooms may touch, how large a file may grow.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

const SOURCE = new URL('../src', import.meta.url).pathname;

/** Room -> the rooms that it may import besides itself. Files at the top of src are rooms of their own. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  figures: [],
  load: ['core', 'figures'],
  wire: ['core'],
  scheduling: ['core', 'figures'],
  telemetry: ['core'],
  models: ['core'],
  backends: ['core', 'wire', 'figures'],
  pipeline: ['core', 'scheduling'],
  simulation: ['core', 'figures', 'scheduling', 'load'],
  edge: ['core', 'wire', 'pipeline', 'scheduling'],
  config: [],
  composition: ['core', 'backends', 'models', 'config'],
  main: [
    'core',
    'wire',
    'scheduling',
    'telemetry',
    'models',
    'backends',
    'pipeline',
    'edge',
    'config',
    'composition',
  ],
  commands: ['core', 'config', 'main', 'edge', 'models', 'telemetry', 'load', 'simulation', 'figures'],
  cli: ['commands'],
};
/** Folders and files of the edge: each imports only those before it. */
const EDGE_ORDER = [
  'http',
  'access',
  'asking',
  'answering',
  'resume',
  'handlers',
  'routes',
  'socket',
  'http-server',
];
const MOST_LINES = 400;
const MOST_PIPELINE_LINES = 200;

interface SourceFile {
  readonly path: string;
  readonly room: string;
  readonly text: string;
  /** Paths of the files of ours that it imports, from src. */
  readonly imports: readonly string[];
  readonly packages: readonly string[];
}

function readSources(): SourceFile[] {
  return globSync('**/*.ts', { cwd: SOURCE })
    .filter((path) => !path.endsWith('.test.ts'))
    .map((path) => {
      const text = readFileSync(join(SOURCE, path), 'utf8');
      const specifiers = [...text.matchAll(/(?:from\s+|import\s*\(?\s*)'([^']+)'/g)].map(
        (match) => match[1]!,
      );
      return {
        path,
        text,
        room: path.includes('/') ? path.slice(0, path.indexOf('/')) : path.replace(/\.ts$/, ''),
        imports: specifiers
          .filter((one) => one.startsWith('.'))
          .map((one) => normalize(join(dirname(path), one))),
        packages: specifiers.filter((one) => !one.startsWith('.')),
      };
    });
}

const files = readSources();
const roomOf = (path: string) => files.find((file) => file.path === path)?.room;

test('the sources were seen', () => {
  assert.ok(files.length > 30, `only ${files.length} files`);
  assert.ok(files.some((file) => file.imports.length > 3));
  for (const room of Object.keys(MAY_IMPORT))
    assert.ok(
      files.some((file) => file.room === room),
      `no room ${room}`,
    );
});

test('every room imports only what it may', () => {
  for (const { path, room, imports } of files) {
    const allowed = MAY_IMPORT[room];
    assert.ok(allowed, `${path} is in no room of the table`);
    for (const target of imports) {
      const targetRoom = roomOf(target);
      assert.ok(targetRoom, `${path} imports ${target}, which is not there`);
      assert.ok(targetRoom === room || allowed.includes(targetRoom), `${path} must not import ${target}`);
    }
  }
});

test('within the edge, each folder imports only what stands before it', () => {
  const place = (path: string) => EDGE_ORDER.indexOf(/^edge\/([\w-]+)/.exec(path)?.[1] ?? '');
  const inside = files.filter(({ room }) => room === 'edge');
  assert.deepEqual(new Set(inside.map(({ path }) => place(path))), new Set(EDGE_ORDER.keys()));
  for (const { path, imports } of inside)
    for (const target of imports.filter((one) => roomOf(one) === 'edge'))
      assert.ok(place(target) <= place(path), `${path} must not import ${target}, which stands above it`);
});

test('no imports in a circle', () => {
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    assert.ok(!trail.includes(path), `a circle: ${[...trail, path].join(' -> ')}`);
    if (done.has(path)) return;
    for (const target of files.find((file) => file.path === path)?.imports ?? [])
      visit(target, [...trail, path]);
    done.add(path);
  };
  for (const { path } of files) visit(path, []);
});

test('some things are touched in one place only', () => {
  const rules: readonly { what: string; pattern: RegExp; where: RegExp }[] = [
    // Its names of statuses, and the type that the WebSocket library asks for.
    {
      what: 'node:http',
      pattern: /from 'node:https?'/,
      where: /^edge\/(http\/response|socket\/sockets)\.ts$/,
    },
    {
      what: 'an HTTP client',
      pattern: /from 'undici'|\bfetch\(/,
      where: /^(backends|models|load)\/|^commands\/chat\.ts$/,
    },
    // The supervisor reads nothing of it: it hands it on to the engine's process, with one setting more.
    { what: 'process.env', pattern: /process\.env/, where: /^(config|backends\/llama\/supervisor)\.ts$/ },
    { what: 'node-llama-cpp', pattern: /from 'node-llama-cpp'/, where: /^backends\/llama\// },
    {
      what: 'telemetry',
      pattern: /from '.*telemetry\//,
      where: /^(main\.ts|telemetry\/|commands\/serve\.ts)/,
    },
    { what: 'prom-client', pattern: /from 'prom-client'/, where: /^telemetry\// },
    { what: 'pino', pattern: /from 'pino/, where: /^telemetry\// },
    {
      what: 'the wall clock',
      pattern: /Date\.now|performance\.now|setTimeout|setInterval/,
      where: /^(?!scheduling|pipeline|wire)/,
    },
  ];
  for (const { what, pattern, where } of rules) {
    const touching = files.filter((file) => pattern.test(file.text));
    if (what !== 'the wall clock')
      assert.ok(touching.length > 0, `nobody touches ${what}: is the rule still right?`);
    for (const { path } of touching) assert.match(path, where, `${path} must not touch ${what}`);
  }
});

test('no file outgrows its reason', () => {
  for (const { path, text } of files) {
    const lines = text.split('\n').length;
    assert.ok(lines <= MOST_LINES, `${path} has ${lines} lines`);
    if (path === 'pipeline/pipeline.ts') assert.ok(lines < MOST_PIPELINE_LINES, `${path} has ${lines} lines`);
  }
});

test('every file says what it is for', () => {
  for (const { path, text } of files) assert.match(text, /^\/\/ \S/, `${path} opens without a comment`);
});

test('no default exports, no rooms without a meaning', () => {
  for (const { path, text } of files) {
    assert.doesNotMatch(text, /export default/, path);
    assert.doesNotMatch(path, /(^|\/)(utils?|helpers?|common|services?|managers?|index)(\/|\.ts$)/, path);
  }
});
