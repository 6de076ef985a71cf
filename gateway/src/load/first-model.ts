// Which model a server lists first: what is asked for where nobody names one.

const ANSWER_LIMIT_MS = 10_000;

export interface FirstModelOptions {
  /** The route that will be asked, such as `…/v1/chat/completions`: `models` stands beside it. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly key: string | undefined;
}

/** Rejects with an Error whose message says what to do. */
export async function firstModel({ url, headers, key }: FirstModelOptions): Promise<string> {
  const list = new URL(url.pathname.replace(/\/(chat\/)?completions$/, '/models'), url);
  const authorization = key === undefined ? {} : { authorization: `Bearer ${key}` };
  let response: Response;
  try {
    const signal = AbortSignal.timeout(ANSWER_LIMIT_MS);
    response = await fetch(list, { headers: { ...headers, ...authorization }, signal });
  } catch (thrown) {
    const { message, cause } = thrown as Error;
    const reason = (cause as NodeJS.ErrnoException | undefined)?.code ?? message;
    throw new Error(`No server answers at ${url.origin} (${reason}). Name one by --base-url.`);
  }
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(
      `${list.href} answers ${response.status}: name the model by --model, the key by the environment.`,
    );
  }
  const { data } = (await response.json().catch(() => ({}))) as { data?: { id?: unknown }[] };
  const id = data?.[0]?.id;
  if (typeof id === 'string') return id;
  throw new Error(`The server at ${url.origin} lists no model yet: name one by --model.`);
}
