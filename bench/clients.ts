// Clients in a process of their own, so that their work is not counted as the server's. Plain sockets: an HTTP client
// would cost more than what is measured.
import { type ChildProcess, fork } from 'node:child_process';
import type { Order, Tally } from './client-process.ts';

export class Clients {
  readonly #child: ChildProcess;

  constructor() {
    this.#child = fork(new URL('./client-process.ts', import.meta.url), { serialization: 'advanced' });
  }

  /** Carries the order out; resolves when it is done, and rejects when an answer failed or was cut. */
  send(order: Order): Promise<Tally> {
    return new Promise((resolve, reject) => {
      const onExit = () => reject(new Error('The client process ended.'));
      this.#child.once('exit', onExit);
      this.#child.once('message', (outcome: Tally | Error) => {
        this.#child.off('exit', onExit);
        if (outcome instanceof Error) reject(outcome);
        else resolve(outcome);
      });
      this.#child.send(order);
    });
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}
