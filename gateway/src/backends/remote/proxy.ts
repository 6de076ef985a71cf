// Which proxy leads to an address, as the environment says: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case.
// Pure: the environment is given. It never sends through a proxy what stays on this machine.
import { BlockList, isIP } from 'node:net';
import { GatewayError } from '../../core/errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface HttpProxy {
  /** It is spoken to over TLS itself. */
  readonly isSecure: boolean;
  readonly host: string;
  readonly port: number;
  /** The value of `proxy-authorization`, where its address names a user. */
  readonly authorization: string | undefined;
}

/** A URL's host as sockets want it: an IPv6 address without its brackets, a name without the dot of the root. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/(?<=.)\.$/, '');
}

/** A URL's port, or that of its scheme. */
export function portOf(url: URL): number {
  return Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
}

/**
 * The proxy that leads to `origin`; undefined: none. Where only HTTP_PROXY is set it leads to https too. Throws
 * `backend_failed` where the variable holds no address of an HTTP proxy; the address itself, which may hold a password,
 * is not in the message.
 */
export function proxyFor(origin: URL, env: Environment): HttpProxy | undefined {
  const forHttp = env.http_proxy || env.HTTP_PROXY;
  const address = origin.protocol === 'https:' ? env.https_proxy || env.HTTPS_PROXY || forHttp : forHttp;
  const host = hostOf(origin);
  if (!address || isOnThisMachine(host)) return undefined;
  if (isExempt(host, portOf(origin), env.no_proxy || env.NO_PROXY || '')) return undefined;
  return readProxy(address);
}

function readProxy(address: string): HttpProxy {
  // Many people write the proxy's host and port alone.
  const text = address.includes('://') ? address : `http://${address}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new GatewayError(
      'backend_failed',
      'HTTP_PROXY or HTTPS_PROXY is not the address of an HTTP proxy.',
    );
  }
  const user = url.username && `${decode(url.username)}:${decode(url.password)}`;
  return {
    isSecure: url.protocol === 'https:',
    host: hostOf(url),
    port: portOf(url),
    authorization: user ? `Basic ${Buffer.from(user).toString('base64')}` : undefined,
  };
}

/** Passwords with a per cent sign of their own are common. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function isOnThisMachine(host: string): boolean {
  if (host === 'localhost' || host.endsWith('.localhost') || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

function isExempt(host: string, port: number, list: string): boolean {
  return list.split(/[,\s]+/).some((entry) => entry !== '' && matches(entry.toLowerCase(), host, port));
}

/** An entry is `*`, a host or a domain with all below it, each with or without a port, an address, or a net in CIDR form. */
function matches(entry: string, host: string, port: number): boolean {
  if (entry.includes('/')) return isInNet(entry, host);
  const parts = /^\[(.+)\](?::(\d+))?$/.exec(entry) ?? /^([^:]+):(\d+)$/.exec(entry);
  const [name, only] = parts ? [parts[1]!, parts[2]] : [entry, undefined];
  if (only !== undefined && Number(only) !== port) return false;
  if (name === '*') return true;
  const domain = name.replace(/^\*?\./, '').replace(/\.$/, '');
  return domain !== '' && (host === domain || (isIP(host) === 0 && host.endsWith(`.${domain}`)));
}

function isInNet(entry: string, host: string): boolean {
  const [net = '', bits] = entry.split('/');
  const family = isIP(net);
  const prefix = Number(bits);
  const isNet =
    family !== 0 && Number.isInteger(prefix) && prefix >= 0 && prefix <= (family === 4 ? 32 : 128);
  if (!isNet || isIP(host) !== family) return false;
  const kind = family === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(net, prefix, kind);
  return list.check(host, kind);
}
