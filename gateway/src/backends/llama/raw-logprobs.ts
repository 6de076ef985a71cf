// How likely the model held its tokens before temperature, filters, penalties and grammars: what OpenAI's clients
// mean by `logprobs`. The binding's own answer is of what is left after them, or of a whole vocabulary as one list, at
// 30 ms a token and 49,000 tokens. So this asks the native sampler below the binding's API, three times for one token;
// the binding's version is pinned, and logprobs.engine.test.ts fails where a new one differs.
// It must never change which token is sampled, nor cost anything to a call that did not ask.

type SamplerConfig = Readonly<Record<string, number | Uint32Array | Float32Array>>;

interface NativeSampler {
  applyConfig(config: SamplerConfig): void;
}

/** With `probabilities` a list: token, probability, token, probability, likeliest first. */
type Sampled = number | [token: number, probabilities?: readonly number[], confidence?: number];
type SampleToken = (
  logitIndex: number,
  sampler: NativeSampler,
  probabilities?: boolean,
  confidence?: boolean,
) => Promise<Sampled>;

/** The members that the binding does not publish. */
interface Hidden {
  readonly llama: { readonly _bindings: { readonly AddonSampler: new (model: unknown) => NativeSampler } };
  readonly model: { readonly _model: unknown };
  readonly context: { readonly _ctx: { readonly sampleToken: SampleToken } };
}

/** More than any sampler of ours chooses from by default, so that what it chose is nearly always among them. */
const LIKELIEST = 64;
/** Leaves the model's probabilities as they are. */
const OWN = { temperature: 1, topP: 1, minP: 0, seed: 0 };
/** Lifts a token above all others, and leaves the others within the range of a float. */
const LIFT = 60;
/** What OpenAI writes for a token that can never come. */
const NEVER = -9999;

/**
 * From now on what the context tells as `probabilities` of a sampled token are natural logarithms over the whole
 * vocabulary: the likeliest first, and the sampled one among them, if need be as the last. Throws when the binding is
 * not the one that this was written for.
 */
export function tellRawLogprobs(llama: object, model: object, context: object): void {
  const { AddonSampler } = (llama as Hidden['llama'])._bindings;
  const { _model } = model as Hidden['model'];
  const { _ctx } = context as Hidden['context'];
  const sample: SampleToken = _ctx.sampleToken.bind(_ctx);
  const samplerOf = (config: SamplerConfig): NativeSampler => {
    const sampler = new AddonSampler(_model);
    sampler.applyConfig(config);
    return sampler;
  };
  const newProbes = () => ({
    few: samplerOf({ ...OWN, topK: LIKELIEST }),
    best: samplerOf({ temperature: 0 }),
    lifted: samplerOf({ ...OWN, topK: 2 }),
  });
  // A sampler has room for one vocabulary, so sequences that are sampled at once cannot share one.
  const idle: ReturnType<typeof newProbes>[] = [];

  const withLogprobs: SampleToken = async (index, sampler) => {
    const probes = idle.pop() ?? newProbes();
    const [sampled, few, best] = await Promise.all([
      sample(index, sampler),
      sample(index, probes.few, true),
      sample(index, probes.best, false, true),
    ]);
    const token = tokenOf(sampled);
    const logprobs = logprobsOf(few, best);
    if (!logprobs.some((value, at) => at % 2 === 0 && value === token)) {
      const bias = { tokenBiasKeys: Uint32Array.of(token), tokenBiasValues: Float32Array.of(LIFT) };
      probes.lifted.applyConfig({ ...OWN, topK: 2, ...bias });
      logprobs.push(token, liftedLogprob(token, await sample(index, probes.lifted, true), logprobs[1]!));
    }
    idle.push(probes);
    return [token, logprobs];
  };
  const sampleToken: SampleToken = (...call) => (call[2] === true ? withLogprobs(...call) : sample(...call));
  // Its prototype's is read-only.
  Object.defineProperty(_ctx, 'sampleToken', { value: sampleToken });
}

function tokenOf(sampled: Sampled): number {
  return typeof sampled === 'number' ? sampled : sampled[0];
}

/** `few` adds up to 1 by itself; the likeliest token's probability among all puts it in proportion. */
function logprobsOf(few: Sampled, best: Sampled): number[] {
  const probabilities = (typeof few === 'number' ? undefined : few[1]) ?? [];
  const confidence = typeof best === 'number' ? undefined : best[2];
  if (confidence === undefined || probabilities.length === 0)
    throw new Error('the model gave no probabilities');
  const scale = confidence / probabilities[1]!;
  return probabilities.map((value, at) => (at % 2 === 0 ? value : clamped(Math.log(value * scale))));
}

/** Of a token too unlikely for `few`: `pair` has it, lifted, beside the likeliest, whose logarithm is `best`. */
function liftedLogprob(token: number, pair: Sampled, best: number): number {
  const [first, own, , other] = (typeof pair === 'number' ? undefined : pair[1]) ?? [];
  // What even lifted is not the first is as good as impossible.
  if (first !== token || own === undefined || other === undefined) return NEVER;
  return clamped(Math.log(own) - Math.log(other) - LIFT + best);
}

function clamped(logprob: number): number {
  return Math.min(0, Math.max(NEVER, logprob));
}
