// One thing that is looked at on every engine, through the whole gateway.
import type { Sluice } from '../e2e/harness.ts';
import type { Engine } from './engine.ts';

/** The engine, and gateways in front of it. */
export interface Ground {
  readonly engine: Engine;
  /** By a configuration that names its kind. */
  readonly gateway: Sluice;
  /** By nothing but its address: `--backend`. */
  readonly bare: Sluice;
}

export interface EngineCheck {
  /** A row of the table. */
  readonly title: string;
  /** Resolves to the table's cell, in few words; rejects where the engine does not work behind the gateway. */
  run(ground: Ground): Promise<string>;
}

/** Of the gateway that is configured. */
export const ADMIN_KEY = 'operator';
