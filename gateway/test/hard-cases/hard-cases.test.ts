// Plays the hard cases against the whole server, one test a case. Those that wait for something, or are played in another
// file, are told of once; none is left out in silence.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CASES } from './cases.ts';
import { FURTHER } from './further.ts';
import { ELSEWHERE, ON_THE_ENGINE, REDUCED, WAITING } from './left-out.ts';
import { playInModes, playOnce } from './play.ts';
import { PROCESSES } from './processes.ts';
import { REQUESTS } from './requests.ts';
import { SEQUENCES } from './sequences.ts';
import { SETUPS } from './setups.ts';

const BY_HAND = { ...SEQUENCES, ...REQUESTS, ...PROCESSES };
const isElsewhere = (id: string) =>
  Object.hasOwn(WAITING, id) || ON_THE_ENGINE.includes(id) || Object.hasOwn(ELSEWHERE, id);

test('every case of the file is played or told of, and nothing else is', () => {
  assert.equal(CASES.size, 63);
  const tables = { BY_HAND, FURTHER, WAITING, ELSEWHERE, REDUCED, SETUPS };
  for (const [table, rows] of Object.entries(tables)) {
    for (const id of Object.keys(rows)) assert.ok(CASES.has(id), `${table} has "${id}", the file has not`);
  }
  for (const id of ON_THE_ENGINE) assert.ok(CASES.has(id), id);
  for (const { id, kind, setup, upstream } of CASES.values()) {
    const isByHand = Object.hasOwn(BY_HAND, id);
    const places = [
      isByHand,
      Object.hasOwn(WAITING, id),
      ON_THE_ENGINE.includes(id),
      Object.hasOwn(ELSEWHERE, id),
    ];
    assert.ok(places.filter(Boolean).length <= 1, `${id} has several places`);
    if (isElsewhere(id)) continue;
    if (kind === 'sequence') assert.ok(isByHand, `nobody plays the steps of ${id}`);
    if (kind === 'upstream-stream') assert.ok(isByHand || upstream, `${id} has no upstream to play`);
    if (setup !== undefined) assert.ok(Object.hasOwn(SETUPS, id), `the setup of ${id} is told in words only`);
  }
  const list = (rows: Readonly<Record<string, string>>) =>
    Object.entries(rows)
      .map(([id, why]) => `  ${id}: ${why}`)
      .join('\n');
  console.log(`hard cases that wait:\n${list(WAITING)}\nhard cases whose steps differ:\n${list(REDUCED)}`);
});

for (const one of CASES.values()) {
  const { id, kind } = one;
  if (isElsewhere(id)) continue;
  test(id, async (t) => {
    const byHand = Object.hasOwn(BY_HAND, id) ? BY_HAND[id] : undefined;
    if (byHand) await byHand(one, t);
    else if (kind === 'upstream-stream') await playInModes(one);
    else await playOnce(one);
    if (Object.hasOwn(FURTHER, id)) await FURTHER[id]?.(one, t);
  });
}
