// Grammars above node-llama-cpp: what a sampler may choose from, token by token. The binding samples first and asks the
// grammar about that one token; only where it does not fit is the whole vocabulary looked at.
// It must never be imported by the gateway's own process, nor read a grammar that is not of ours.
import {
  type Llama,
  LlamaGrammar,
  LlamaGrammarEvaluationState,
  type LlamaModel,
  type SequenceEvaluateOptions,
  type Token,
  TokenBias,
} from 'node-llama-cpp';
import { CALL_TAGS } from './call-form.ts';
import type { Constraint } from './engine-sequence.ts';

/** Grammars that were read already: a service asks for the same few forms again and again. */
const KEPT_GRAMMARS = 32;

export class GrammarConstraint implements Constraint {
  readonly options: Pick<SequenceEvaluateOptions, 'grammarEvaluationState' | 'tokenBias'>;
  private readonly accepts: (token: number) => void;

  constructor(state: LlamaGrammarEvaluationState, tokenBias: TokenBias, accepts: (token: number) => void) {
    this.options = { grammarEvaluationState: state, tokenBias };
    this.accepts = accepts;
  }

  accept(token: number): void {
    this.accepts(token);
  }
}

/** Makes constraints of grammars in GBNF. What it makes throws when the grammar cannot be read. */
export function constrainerOf(llama: Llama, model: LlamaModel): (grammar: string) => GrammarConstraint {
  const kept = new Map<string, LlamaGrammar>();
  const tokenBias = controlsBias(model);
  return (text) => {
    const grammar = kept.get(text) ?? new LlamaGrammar(llama, { grammar: text });
    // Behind all others: the first is the one that was not asked for the longest.
    kept.delete(text);
    kept.set(text, grammar);
    if (kept.size > KEPT_GRAMMARS) kept.delete(kept.keys().next().value!);
    const state = new LlamaGrammarEvaluationState({ model, grammar });
    return new GrammarConstraint(state, tokenBias, acceptorOf(llama, state));
  };
}

/** A grammar sees the name of a control token as its text, and would let it stand for that text, which is never shown. */
function controlsBias(model: LlamaModel): TokenBias {
  const bias = TokenBias.for(model);
  const shown = shownControls(model);
  for (const token of model.iterateAllTokens()) {
    const isControl = model.getTokenAttributes(token).control;
    if (isControl && !shown.has(token) && !model.isEogToken(token)) bias.set(token, 'never');
  }
  return bias;
}

/** The binding's own way to advance a state by a token is not published. */
function acceptorOf(llama: Llama, state: LlamaGrammarEvaluationState): (token: number) => void {
  const { AddonSampler } = (llama as unknown as HiddenAcceptor)._bindings;
  const { _state } = state as unknown as { readonly _state: unknown };
  return (token) => AddonSampler.acceptGrammarEvaluationStateToken(_state, token);
}

interface HiddenAcceptor {
  readonly _bindings: {
    readonly AddonSampler: { acceptGrammarEvaluationStateToken(state: unknown, token: number): void };
  };
}

/** Tokens of tags that are shown even where a vocabulary has them as control tokens. */
export function shownControls(model: LlamaModel): ReadonlySet<Token> {
  return new Set(
    ['<think>', '</think>', ...CALL_TAGS]
      .map((tag) => model.tokenize(tag, true))
      .filter((tokens) => tokens.length === 1)
      .flat(),
  );
}
