// Reads the configuration again while the server runs: when it is told to, and when the file changes. A file that is wrong
// changes nothing and is said to be wrong; one that is still being written is waited for. It never reads half a file that
// the other half follows in time, and never two at once.
import { type FSWatcher, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { changesOf } from '../config/changes.ts';
import { type Config, ConfigError } from '../config.ts';
import type { Log } from '../core/log.ts';

export interface ConfigReloadOptions {
  readonly path: string;
  /** The configuration of a file's text; throws ConfigError. */
  readonly load: (text: string) => Config;
  /** The configuration in use. */
  readonly config: Config;
  /** Puts a configuration to use. Where it rejects, the one before stays in use. */
  readonly apply: (config: Config) => Promise<void> | void;
  readonly log: Log;
}

/** A file counts as written when it reads the same twice, this far apart, in ms. */
const SETTLE_MS = 100;
/** A file that never reads the same twice is taken as it is after so many looks. */
const MOST_LOOKS = 20;
/** What is wrong may be half of what will be right: it is looked at again after this, in ms. */
const SECOND_LOOK_MS = 200;

export class ConfigReload {
  readonly #options: ConfigReloadOptions;
  #config: Config;
  /** What was last looked at, good or not: the same again is no news. */
  #seen: string | undefined;
  #watcher: FSWatcher | undefined;
  #work: Promise<void> | undefined;
  #isWanted = false;
  #isForced = false;
  #isClosed = false;

  constructor(options: ConfigReloadOptions) {
    this.#options = options;
    this.#config = options.config;
  }

  /** Watches the file from now on. Its folder is watched, since a file that is replaced is another one. */
  watch(): void {
    const { path, log } = this.#options;
    const unseen = (reason: string) =>
      log('warn', `Changes of ${path} are not seen (${reason}): SIGHUP has it read again.`);
    try {
      this.#watcher = watch(dirname(resolve(path)), { persistent: false }, () => void this.#look(false));
      this.#watcher.on('error', (error) => unseen(error.message));
    } catch (thrown) {
      unseen((thrown as Error).message);
    }
    void this.#look(false);
  }

  /** Reads the file again, also if it seems unchanged: secrets of the environment and of other files may have changed. */
  reload(): Promise<void> {
    return this.#look(true);
  }

  close(): void {
    this.#isClosed = true;
    this.#watcher?.close();
  }

  /** One look at a time; what is wanted meanwhile is one more look after it. Never rejects. */
  #look(isForced: boolean): Promise<void> {
    this.#isWanted = true;
    this.#isForced ||= isForced;
    this.#work ??= this.#looks();
    return this.#work;
  }

  async #looks(): Promise<void> {
    while (this.#isWanted && !this.#isClosed) {
      this.#isWanted = false;
      const isForced = this.#isForced;
      this.#isForced = false;
      try {
        await this.#lookOnce(isForced);
      } catch (thrown) {
        const { message } = thrown as Error;
        this.#stay(thrown instanceof ConfigError ? message : `It could not be applied (${message}).`);
      }
    }
    this.#work = undefined;
  }

  async #lookOnce(isForced: boolean): Promise<void> {
    let text = await this.#settledText();
    if (!isForced && text !== undefined && text === this.#seen) return;
    let config: Config;
    try {
      config = this.#load(text);
    } catch {
      await sleep(SECOND_LOOK_MS, undefined, { ref: false });
      text = await this.#settledText();
      if (!isForced && text === this.#seen) return;
      this.#seen = text;
      config = this.#load(text);
    }
    this.#seen = text;
    if (!this.#isClosed) await this.#take(config, isForced);
  }

  #load(text: string | undefined): Config {
    const { path, load } = this.#options;
    if (text === undefined) throw new ConfigError(`The configuration ${path} cannot be read.`);
    // At a start it would mean the defaults; here it is more likely a file that is about to be written.
    if (text.trim() === '') throw new ConfigError(`The configuration ${path} is empty.`);
    return load(text);
  }

  async #take(config: Config, isForced: boolean): Promise<void> {
    const { apply, log, path } = this.#options;
    const { live, atRestart } = changesOf(this.#config, config);
    if (live.length === 0 && atRestart.length === 0 && isDeepStrictEqual(this.#config, config)) {
      if (isForced) log('info', `The configuration ${path} was read again: nothing has changed.`);
      return;
    }
    await apply(config);
    this.#config = config;
    for (const warning of config.warnings) log('warn', warning);
    if (atRestart.length > 0) {
      log(
        'warn',
        `What has changed in ${path} and is taken at the next start only: ${atRestart.join(', ')}.`,
      );
    }
    if (live.length > 0)
      log('info', `The configuration ${path} was read again. Changed: ${live.join(', ')}.`);
  }

  #stay(reason: string): void {
    this.#options.log('error', `${reason} The configuration in use stays.`);
  }

  /** The file's text once it stays the same; undefined where there is no file to read. */
  async #settledText(): Promise<string | undefined> {
    let text = await this.#read();
    for (let look = 1; look < MOST_LOOKS && !this.#isClosed; look += 1) {
      await sleep(SETTLE_MS, undefined, { ref: false });
      const next = await this.#read();
      if (next === text) break;
      text = next;
    }
    return text;
  }

  async #read(): Promise<string | undefined> {
    try {
      return await readFile(this.#options.path, 'utf8');
    } catch {
      return undefined;
    }
  }
}
