// What may be given up of a model's answers before they are refused: who answers in its place, how long, and where calls go
// that its own back ends have no room for. What is named must exist, and money is only spent where a price is known.
import type { Fault } from './config-error.ts';
import { suggestion } from './hints.ts';
import type { RawModel } from './schema.ts';

export interface DegradeConfig {
  /** The id of the model that answers in its place. */
  readonly smallerModel: string | undefined;
  /** The most tokens that an answer then has. */
  readonly shorterTokens: number | undefined;
  readonly spill: SpillConfig | undefined;
}

export interface SpillConfig {
  /** Ids, preferred first; each has a price, and none is the model's own. */
  readonly backends: readonly string[];
  /** In the currency of the prices. */
  readonly budgetPerDay: number;
}

/** A back end as far as this looks at it. */
export interface KnownBackend {
  readonly id: string;
  readonly price?: unknown;
}

/** What else there is. */
export interface Surroundings {
  readonly entries: readonly RawModel[];
  readonly backends: readonly KnownBackend[];
  /** Ids of the model's own back ends. */
  readonly own: readonly string[];
}

/** Throws ConfigError. */
export function resolveDegrade(
  model: RawModel,
  surroundings: Surroundings,
  path: readonly PropertyKey[],
  fault: Fault,
): DegradeConfig | undefined {
  const { degrade } = model;
  if (!degrade) return undefined;
  const { smaller_model: smallerModel, shorter: shorterTokens, spill } = degrade;
  const at = [...path, 'degrade'];
  if (smallerModel !== undefined) checkSmaller(smallerModel, model, surroundings, at, fault);
  for (const [index, id] of spill?.backends.entries() ?? []) {
    const place = [...at, 'spill', 'backends', index];
    if (spill!.backends.indexOf(id) < index) throw fault(place, `names "${id}" a second time.`);
    checkSpill(id, surroundings, place, fault);
  }
  return {
    smallerModel,
    shorterTokens,
    spill: spill && { backends: spill.backends, budgetPerDay: spill.budget_per_day },
  };
}

function checkSmaller(
  id: string,
  model: RawModel,
  { entries }: Surroundings,
  path: readonly PropertyKey[],
  fault: Fault,
): void {
  const others = entries.map((entry) => entry.id).filter((other) => other !== model.id);
  if (others.includes(id)) return;
  const hint = others.length > 0 ? suggestion(id, others) : 'There is no other one.';
  throw fault([...path, 'smaller_model'], `names "${id}", which is no other model of the list. ${hint}`);
}

function checkSpill(
  id: string,
  { backends, own }: Surroundings,
  path: readonly PropertyKey[],
  fault: Fault,
): void {
  const backend = backends.find((one) => one.id === id);
  if (!backend) {
    const known = backends.map((one) => one.id);
    throw fault(path, `names "${id}", and there is no such back end. ${suggestion(id, known)}`);
  }
  if (own.includes(id)) throw fault(path, `names "${id}", which serves this model anyway.`);
  if (backend.price === undefined) {
    throw fault(path, `names "${id}", which has no "price": nobody would know what its calls spend.`);
  }
}
