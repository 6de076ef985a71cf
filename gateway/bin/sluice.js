#!/usr/bin/env node
// Starts the command line under a Node that can run it. Plain JavaScript, because an old Node must get this far:
// where `node` is too old, the one that `npm ci` brought along takes over.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';

const NEEDED = [24, 9];

const [major, minor] = process.versions.node.split('.').map(Number);
if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) {
  // What lived long while the program was read decides where V8 makes its like later: among the old objects. A request's
  // are then found dead only by a full collection, and all that they point to is copied by every small one (30 ms, not 1).
  setFlagsFromString('--no-allocation-site-pretenuring');
  await import('../src/cli.ts');
} else {
  let modern;
  try {
    modern = createRequire(import.meta.url).resolve('node/bin/node');
  } catch {
    console.error(
      `Sluice needs Node ${NEEDED.join('.')} or newer; this is ${process.version}. Run "npm ci" in its folder: that brings one along.`,
    );
    process.exit(2);
  }
  const child = spawn(modern, process.argv.slice(1), { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    if (signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else process.exit(code ?? 1);
  });
}
