// The listening socket, and its connections: exchanges come out of it, and all of them end with it.
// HTTP/1.1 towards clients is our own, since it was a third of what a short request costs (docs/adr/0004).
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { ClientConnection, type ConnectionOwner } from './connection.ts';

export type HttpListenerOptions = Omit<ConnectionOwner, 'onGone'>;

export class HttpListener {
  readonly #server: Server;
  readonly #connections = new Set<ClientConnection>();

  constructor(options: HttpListenerOptions) {
    const owner: ConnectionOwner = { ...options, onGone: (gone) => this.#connections.delete(gone) };
    this.#server = createServer({ noDelay: true }, (socket: Socket) => {
      this.#connections.add(new ClientConnection(socket, owner));
    });
  }

  /** An answer is under way, or not with the system yet. */
  get isBusy(): boolean {
    for (const connection of this.#connections) if (connection.isBusy) return true;
    return false;
  }

  /** Rejects with Node's own error (EADDRINUSE, EACCES, ENOTFOUND). */
  listen(host: string, port: number): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        resolve(this.#server.address() as AddressInfo);
      });
    });
  }

  /** Cuts what is still open, but for what was taken over. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const connection of this.#connections) connection.destroy();
    });
  }
}
