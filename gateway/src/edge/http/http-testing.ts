// For tests: requests over a real socket, to whatever answers them.
import { HttpListener, type HttpListenerOptions } from './listener.ts';

const HEADER_TIMEOUT_MS = 10_000;

/** Serves on loopback for the time of `use`. */
export async function serving<Result>(
  onExchange: HttpListenerOptions['onExchange'],
  use: (port: number) => Promise<Result>,
  options: Partial<HttpListenerOptions> = {},
): Promise<Result> {
  const listener = new HttpListener({
    headerTimeoutMs: HEADER_TIMEOUT_MS,
    onExchange,
    takesOver: () => false,
    onTakenOver: () => {},
    ...options,
  });
  const { port } = await listener.listen('127.0.0.1', 0);
  try {
    return await use(port);
  } finally {
    await listener.close();
  }
}
