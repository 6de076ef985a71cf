// Entry of a process that loads the engine's native code, without a model, tells what was loaded, and ends.
// It must never outlive its parent, and never build or download anything.
import { existsSync, readFileSync } from 'node:fs';
import { findPackageJSON } from 'node:module';
import { basename, join } from 'node:path';
import process from 'node:process';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';
import type { LoadedEngine } from './engine-report.ts';

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));

process.once('message', ({ gpu }: { gpu: 'auto' | false }) => {
  report(gpu).then(
    // Native destructors can hang; nothing is lost by leaving them out.
    (engine) => process.send?.(engine, () => process.kill(process.pid, 'SIGKILL')),
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`, () =>
        process.exit(1),
      );
    },
  );
});

async function report(gpu: 'auto' | false): Promise<LoadedEngine> {
  const llama = await getLlama({
    gpu,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.disabled,
  });
  return {
    gpu: llama.gpu,
    release: llama.llamaCppRelease.release,
    cpuVariant: loadedCpuVariant(),
    instructions: [...llama.systemInfo.matchAll(/(\w+) = 1/g)].map((match) => match[1]!),
    gpuBuilds: installedGpuBuilds(),
  };
}

/** The CPU's kernels are in a library of their own for each generation of processors; the engine picks one. */
function loadedCpuVariant(): string | undefined {
  // Network names take their time to look up, and the environment is nobody's business.
  Object.assign(process.report, { excludeNetwork: true, excludeEnv: true });
  const { sharedObjects = [] } = process.report.getReport() as { sharedObjects?: string[] };
  const names = sharedObjects.map((path) => /^(?:lib)?ggml-cpu-(\w+)\./.exec(basename(path))?.[1]);
  return names.find((name) => name !== undefined);
}

/** Those of the binding's optional packages that hold more than a name. */
function installedGpuBuilds(): string[] {
  const base = import.meta.resolve('node-llama-cpp');
  const binding = findPackageJSON('node-llama-cpp', base);
  if (binding === undefined) return [];
  const { optionalDependencies = {} } = JSON.parse(readFileSync(binding, 'utf8'));
  const platform = process.platform === 'darwin' ? 'mac' : process.platform === 'win32' ? 'win' : 'linux';
  const own = new RegExp(`/${platform}-${process.arch}-(cuda|vulkan|metal)$`);
  return Object.keys(optionalDependencies).flatMap((name) => {
    const kind = own.exec(name)?.[1];
    return kind !== undefined && isInstalled(name, base) ? [kind] : [];
  });
}

function isInstalled(name: string, base: string): boolean {
  try {
    const manifest = findPackageJSON(name, base);
    // What the workspace puts in its place by default has no binaries.
    return manifest !== undefined && existsSync(join(manifest, '..', 'bins'));
  } catch {
    return false;
  }
}
