// One file out of an archive, cut into any pieces; and that nothing an archive states makes the reader hang, grow or guess.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { temporary } from '../stand-in-hub.test.ts';
import { type SampleMember, sampleTar } from './sample-tar.ts';
import { readTarMember, TarError } from './tar-member.ts';

const NO_LIMIT = 1e9;

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function member(archive: Buffer, name: string, limit = NO_LIMIT, size = 1000): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of readTarMember(cut(archive, size), name, limit)) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function refused(work: Promise<unknown>, reason: TarError['reason']): Promise<void> {
  await assert.rejects(work, (thrown) => thrown instanceof TarError && thrown.reason === reason);
}

suite('a member of an archive', { concurrency: true }, () => {
  test('is found among others, whatever the pieces', async () => {
    const name = fc.string({
      unit: fc.constantFrom('a', 'b', '/', '.', 'é', '-'),
      minLength: 1,
      maxLength: 200,
    });
    const one = fc.record({ path: name, content: fc.uint8Array({ maxLength: 3000 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(one, { minLength: 1, maxLength: 6, selector: ({ path }) => path }),
        fc.constantFrom('plain', 'pax', 'gnu'),
        fc.integer({ min: 1, max: 2000 }),
        async (files, form, size) => {
          const members = files.map(
            (file): SampleMember => ({
              ...file,
              form: Buffer.byteLength(file.path) > 100 && form === 'plain' ? 'pax' : (form as 'plain'),
            }),
          );
          const archive = sampleTar(members);
          for (const { path, content } of files) {
            assert.deepEqual(await member(archive, path, NO_LIMIT, size), Buffer.from(content));
          }
          await refused(member(archive, 'not there', NO_LIMIT, size), 'missing');
        },
      ),
      { numRuns: 100 },
    );
  });

  test('any bytes end in the file or in a TarError', async () => {
    const archive = sampleTar([
      { path: 'package/other', content: Buffer.alloc(700, 1), form: 'pax' },
      { path: 'package/a', content: Buffer.alloc(1500, 2) },
    ]);
    const change = fc.tuple(fc.nat(archive.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { maxLength: 8 }),
        fc.nat(archive.length),
        async (changes, length) => {
          const bytes = Buffer.from(archive.subarray(0, length));
          for (const [at, value] of changes) if (at < length) bytes[at] = value;
          await member(bytes, 'package/a').catch((thrown) =>
            assert.ok(thrown instanceof TarError, String(thrown)),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a size or a name that lies', async () => {
    const content = Buffer.alloc(100, 7);
    await refused(member(sampleTar([{ path: 'a', content, statedSize: 50_000 }]), 'a'), 'damaged');
    await refused(
      member(sampleTar([{ path: 'b', content, statedSize: 8e9 }, { path: 'a' }]), 'a'),
      'damaged',
    );
    const big = sampleTar([
      { path: 'b', content: Buffer.alloc(5000) },
      { path: 'a', content },
    ]);
    await refused(member(big, 'a', 4000), 'too_large');
    const long = sampleTar([{ path: `${'n/'.repeat(40_000)}a`, content, form: 'gnu' }]);
    await refused(member(long, 'a'), 'damaged');
    await refused(member(Buffer.from('<html>'.repeat(200)), 'a'), 'damaged');
    await refused(member(Buffer.alloc(0), 'a'), 'missing');
  });

  test('a link or a folder of that name is not the file', async () => {
    const archive = sampleTar([
      { path: 'a', type: '2' },
      { path: 'a', type: '5' },
      { path: 'a', content: Buffer.from('true') },
    ]);
    assert.equal((await member(archive, 'a')).toString(), 'true');
  });

  test('what the system’s own tar writes', { skip: noTar() }, async (context) => {
    const folder = temporary(context);
    const deep = join('package', 'd'.repeat(90), 'e'.repeat(90));
    mkdirSync(join(folder, deep), { recursive: true });
    const content = Buffer.alloc(70_000, 'weights');
    writeFileSync(join(folder, deep, 'w.gguf'), content);
    for (const format of ['ustar', 'pax', 'gnu']) {
      const made = spawnSync('tar', ['-cf', 'x.tar', `--format=${format}`, 'package'], { cwd: folder });
      assert.equal(made.status, 0, String(made.stderr));
      const archive = readFileSync(join(folder, 'x.tar'));
      assert.deepEqual(await member(archive, `${deep}/w.gguf`), content, format);
    }
  });
});

function noTar(): string | false {
  return /GNU tar/.test(String(spawnSync('tar', ['--version']).stdout))
    ? false
    : 'no GNU tar on this machine';
}
