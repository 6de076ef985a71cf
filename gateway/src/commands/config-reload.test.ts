// Guards reading a configuration again: every way in which editors and operators replace a file is seen, half a file is
// never taken, and what is wrong changes nothing.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Config, type Environment, loadConfig } from '../config.ts';
import { ConfigReload } from './config-reload.ts';

const root = mkdtempSync(join(tmpdir(), 'sluice-reload-'));
after(() => rmSync(root, { recursive: true }));
let folders = 0;

const LIMIT_MS = 20_000;
/** Longer than a look at the file takes: what has not happened by then will not. */
const QUIET_MS = 1_000;

interface Watched {
  readonly path: string;
  readonly applied: Config[];
  readonly logged: string[];
  readonly reload: ConfigReload;
  readonly env: Record<string, string>;
  /** Makes the next `apply` fail. */
  refuse: boolean;
}

/** A file that is watched for the time of `use`. `place` may put the file elsewhere and leave a link. */
async function watching(
  text: string,
  use: (watched: Watched) => Promise<void>,
  place = (path: string) => writeFileSync(path, text),
): Promise<void> {
  folders += 1;
  const folder = join(root, `${folders}`);
  mkdirSync(folder);
  const path = join(folder, 'sluice.yaml');
  place(path);
  const applied: Config[] = [];
  const logged: string[] = [];
  const env: Record<string, string> = {};
  const load = (now: string): Config => loadConfig({ config: path }, env as Environment, now);
  const watched: Watched = {
    path,
    applied,
    logged,
    env,
    refuse: false,
    reload: new ConfigReload({
      path,
      load,
      config: load(text),
      apply: (config) => {
        if (watched.refuse) throw new Error('no room');
        applied.push(config);
      },
      log: (level, message) => logged.push(`${level}: ${message}`),
    }),
  };
  watched.reload.watch();
  try {
    await use(watched);
  } finally {
    watched.reload.close();
  }
}

async function until(isTrue: () => boolean, what: () => string): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!isTrue()) {
    if (performance.now() > end) assert.fail(what());
    await sleep(20);
  }
}

const silence = ({ applied }: Watched) => applied.at(-1)?.silence_limit_ms;
const became = (watched: Watched, value: number) =>
  until(
    () => silence(watched) === value,
    () => `${silence(watched)} is not ${value}: ${watched.logged.join('\n')}`,
  );

test('a file that is written anew is taken, and what changed is said', async () => {
  await watching('silence_limit_ms: 1\n', async (watched) => {
    writeFileSync(watched.path, 'silence_limit_ms: 2\n');
    await became(watched, 2);
    assert.match(watched.logged.join('\n'), /info: .*Changed: silence_limit_ms\./);
  });
});

test('a file that is replaced by another one is taken, again and again', async () => {
  await watching('silence_limit_ms: 1\n', async (watched) => {
    for (const value of [2, 3, 4]) {
      writeFileSync(`${watched.path}.tmp`, `silence_limit_ms: ${value}\n`);
      renameSync(`${watched.path}.tmp`, watched.path);
      await became(watched, value);
    }
  });
});

test('a file behind a link to a folder that is swapped is taken', async () => {
  const versionOf = (path: string, version: string) => join(path, '..', version);
  const put = (path: string, version: string, value: number) => {
    mkdirSync(versionOf(path, version));
    writeFileSync(join(versionOf(path, version), 'sluice.yaml'), `silence_limit_ms: ${value}\n`);
  };
  await watching(
    'silence_limit_ms: 1\n',
    async (watched) => {
      put(watched.path, 'v2', 2);
      symlinkSync('v2', versionOf(watched.path, 'next'));
      renameSync(versionOf(watched.path, 'next'), versionOf(watched.path, 'current'));
      await became(watched, 2);
    },
    (path) => {
      put(path, 'v1', 1);
      symlinkSync('v1', versionOf(path, 'current'));
      symlinkSync('current/sluice.yaml', path);
    },
  );
});

test('a file that is emptied and written in pieces is never taken in part', async () => {
  await watching('silence_limit_ms: 1\nprobe_interval_ms: 1\n', async (watched) => {
    for (const text of ['', 'silence_limit_ms: 2\n', 'silence_limit_ms: 2\nprobe_interval_ms: [', '']) {
      writeFileSync(watched.path, text);
      await sleep(20);
    }
    writeFileSync(watched.path, 'silence_limit_ms: 3\nprobe_interval_ms: 4\n');
    await became(watched, 3);
    assert.equal(watched.applied.length, 1);
    assert.equal(watched.applied[0]!.probe_interval_ms, 4);
  });
});

test('a wrong file changes nothing and is said once, by its line; the right one after it is taken', async () => {
  await watching('silence_limit_ms: 1\n', async (watched) => {
    writeFileSync(watched.path, 'port: 1\nsilence_limit: 2\n');
    const errors = () => watched.logged.filter((line) => line.startsWith('error: '));
    await until(
      () => errors().length > 0,
      () => 'nothing was said',
    );
    writeFileSync(`${watched.path}.other`, 'another file of the folder');
    await sleep(QUIET_MS);
    assert.equal(errors().length, 1);
    assert.match(errors()[0]!, /sluice\.yaml:2:1 .*Did you mean.*The configuration in use stays\.$/);
    assert.equal(watched.applied.length, 0);
    writeFileSync(watched.path, 'silence_limit_ms: 2\n');
    await became(watched, 2);
  });
});

test('a file that is emptied or gone is no configuration', async () => {
  await watching('silence_limit_ms: 1\nkeys: []\n', async (watched) => {
    writeFileSync(watched.path, '\n');
    await until(
      () => /is empty/.test(watched.logged.join()),
      () => watched.logged.join('\n'),
    );
    unlinkSync(watched.path);
    await until(
      () => /cannot be read/.test(watched.logged.join()),
      () => watched.logged.join('\n'),
    );
    assert.equal(watched.applied.length, 0);
    writeFileSync(watched.path, 'silence_limit_ms: 2\n');
    await became(watched, 2);
  });
});

test('told to, it reads again: a secret of the environment may be another one', async () => {
  const text = `keys: [{name: a, key: "\${KEY}"}]\n`;
  await watching('silence_limit_ms: 1\n', async (watched) => {
    watched.env.KEY = 'one';
    writeFileSync(watched.path, text);
    await until(
      () => watched.applied.length === 1,
      () => watched.logged.join('\n'),
    );
    await watched.reload.reload();
    assert.equal(watched.applied.length, 1);
    assert.match(watched.logged.at(-1)!, /nothing has changed/);
    watched.env.KEY = 'two';
    await watched.reload.reload();
    assert.equal(watched.applied.length, 2);
    assert.notDeepEqual(watched.applied[1]!.keys, watched.applied[0]!.keys);
  });
});

test('what only the next start takes is said in one line', async () => {
  await watching('port: 1\n', async (watched) => {
    writeFileSync(watched.path, 'port: 2\nengine: {batch_size: 3}\nsilence_limit_ms: 2\n');
    await became(watched, 2);
    const warnings = watched.logged.filter((line) => line.startsWith('warn: '));
    assert.equal(warnings.length, 1);
    assert.match(
      warnings[0]!,
      /at the next start only: (port, engine\.batch_size|engine\.batch_size, port)\.$/,
    );
  });
});

test('where it cannot be applied the one before stays, and the same can be tried again', async () => {
  await watching('silence_limit_ms: 1\n', async (watched) => {
    watched.refuse = true;
    writeFileSync(watched.path, 'silence_limit_ms: 2\n');
    await until(
      () => /could not be applied \(no room\)/.test(watched.logged.join()),
      () => watched.logged.join('\n'),
    );
    watched.refuse = false;
    await watched.reload.reload();
    assert.equal(silence(watched), 2);
  });
});

test('after its end nothing is taken any more', async () => {
  await watching('silence_limit_ms: 1\n', async (watched) => {
    watched.reload.close();
    writeFileSync(watched.path, 'silence_limit_ms: 2\n');
    await watched.reload.reload();
    await sleep(QUIET_MS);
    assert.equal(watched.applied.length, 0);
  });
});
