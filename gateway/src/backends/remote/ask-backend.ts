// One question to one back end, over a connection of its own that ends with it: for who wants to know once and not to serve.
import { probe } from './load-probe.ts';
import { Transport } from './transport.ts';
import { type TraitOverrides, traitsOf, type VendorKind } from './vendors.ts';

export interface AskedBackend {
  readonly kind: VendorKind;
  /** The base of its API, without credentials. */
  readonly url: string;
  readonly apiKey: string | undefined;
  readonly overrides: TraitOverrides;
}

export interface BackendAnswer {
  /** HTTP status of its list of models. */
  readonly status: number;
  /** As it names them; empty where it gave no list. */
  readonly models: readonly string[];
}

/** Asks for the list of its models. `env` names the proxies. Rejects with a GatewayError, or with the signal's reason. */
export async function askBackend(
  { kind, url, apiKey, overrides }: AskedBackend,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<BackendAnswer> {
  const { origin, pathname } = new URL(url);
  const transport = new Transport({ origin, env });
  try {
    const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
    return await probe(transport, {
      basePath: pathname,
      kind,
      traits: traitsOf(kind, overrides),
      headers,
      signal,
    });
  } finally {
    transport.close();
  }
}
