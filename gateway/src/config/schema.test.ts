// Guards the schema that editors use: it is the one that the server checks by, and the file in the documentation is of today.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { USUAL_WEIGHTS } from '../scheduling/router.ts';
import { configJsonSchema, schema } from './schema.ts';

interface Node {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: unknown;
  readonly description?: string;
  readonly items?: Node;
  readonly oneOf?: readonly Node[];
}

const root = configJsonSchema() as Node;

test('the file in the documentation is what the command prints', () => {
  const file = new URL('../../../docs/reference/sluice.schema.json', import.meta.url);
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), JSON.parse(JSON.stringify(root)));
});

test('nothing is required of a configuration, and nothing unknown is allowed anywhere', () => {
  assert.deepEqual(root.required ?? [], []);
  const visit = (node: Node, at: string) => {
    if (node.properties) assert.equal(node.additionalProperties, false, at);
    for (const [name, child] of Object.entries(node.properties ?? {})) visit(child, `${at}.${name}`);
    for (const child of node.oneOf ?? []) visit(child, at);
    if (node.items) visit(node.items, `${at}[]`);
  };
  visit(root, '');
});

test('every setting is told to editors in words', () => {
  for (const [name, node] of Object.entries(root.properties!)) assert.ok(node.description, name);
  const kinds = root.properties!.backends!.items!.oneOf!;
  assert.equal(kinds.length, 3);
  for (const node of [...kinds, root.properties!.keys!.items!, root.properties!.models!.items!]) {
    for (const [name, inner] of Object.entries(node.properties!)) assert.ok(inner.description, name);
  }
});

test('the weights of routing are those that the router justifies', () => {
  const { kv_cache: kvCache, ...weights } = schema.parse({}).routing;
  assert.deepEqual({ ...weights, kvCache }, USUAL_WEIGHTS);
});
