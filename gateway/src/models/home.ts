// Where the store lives and what is where in it. Pure: the environment and the platform are given, nothing is touched.
// Models are data, not cache: no path here may lie under a folder that a system cleans by itself.
import { posix, win32 } from 'node:path';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The store's folder: `SLUICE_HOME`, else the platform's place for a user's data. */
export function defaultHome(env: Environment, platform: NodeJS.Platform, homedir: string): string {
  if (env.SLUICE_HOME) return env.SLUICE_HOME;
  if (platform === 'win32') {
    return win32.join(env.LOCALAPPDATA || win32.join(homedir, 'AppData', 'Local'), 'sluice');
  }
  if (platform === 'darwin') return posix.join(homedir, 'Library', 'Application Support', 'sluice');
  // The XDG rules: a relative path there is to be ignored.
  const data = env.XDG_DATA_HOME;
  return posix.join(data && posix.isAbsolute(data) ? data : posix.join(homedir, '.local', 'share'), 'sluice');
}

/** Whether it can be a model's name, and so a folder's: user input passes here before it becomes part of a path. */
export function isModelName(text: string): boolean {
  return /^[a-z0-9][a-z0-9.-]{0,99}$/.test(text);
}
