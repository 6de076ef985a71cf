// A whole load: sent, heard, and told in figures, of all together, of each phase and of each tenant. Whoever measures a
// server begins here.
import type { Clock } from '../core/clock.ts';
import type { Phase } from './arrivals.ts';
import { type GeneratorFigures, watchGenerator } from './generator-watch.ts';
import { type FiguresOptions, figuresOf, type GroupFigures } from './load-figures.ts';
import { type Attempt, LoadRecord } from './load-record.ts';
import { type LoadOptions, runLoad } from './load-run.ts';
import type { Asked, Heard } from './streamed-request.ts';
import { type SeriesStep, timeSeries } from './time-series.ts';

export interface MeasureOptions extends FiguresOptions, Omit<LoadOptions, 'ask' | 'record' | 'clock'> {
  readonly endpoint: { readonly clock: Clock; ask(asked: Asked): Promise<Heard> };
  readonly phases: readonly Phase[];
  /** Gets the record as it begins, to show what is going on. */
  readonly onBegin?: ((record: LoadRecord) => void) | undefined;
}

export interface LoadResult {
  /** To the last answer's end. */
  readonly seconds: number;
  readonly mostInFlight: number;
  readonly all: GroupFigures;
  /** By name; a request belongs to the phase in which it fell due, those that came later to the last one. */
  readonly phases: Readonly<Record<string, GroupFigures>>;
  /** By name; none where there is one tenant only. */
  readonly tenants: Readonly<Record<string, GroupFigures>>;
  readonly generator: GeneratorFigures;
  readonly series: readonly SeriesStep[];
  /** What the server said of failures and refusals, the first of each reason. */
  readonly messages: Readonly<Record<string, string>>;
  readonly attempts: readonly Attempt[];
}

/** Resolves when all have their end. */
export async function measureLoad(options: MeasureOptions): Promise<LoadResult> {
  const { endpoint, phases, onBegin } = options;
  const { clock } = endpoint;
  const groupsOf = (attempt: Attempt) => groupNames(attempt, phases);
  const record = new LoadRecord(clock.now(), groupsOf);
  const generator = watchGenerator();
  onBegin?.(record);
  await runLoad({ ...options, clock, ask: (asked) => endpoint.ask(asked), record });
  const seconds = (clock.now() - record.startedAt) / 1000;
  const { attempts, gaps } = record;
  const group = (name: string, length: number) =>
    figuresOf(
      attempts.filter((attempt) => groupsOf(attempt).includes(name)),
      gaps.get(name),
      length,
      options,
    );
  // Who comes back does so after the last phase's planned end.
  const lastDueMs = attempts.reduce((last, { dueMs }) => Math.max(last, dueMs), 0);
  const lengthOf = ({ fromMs, toMs }: Phase) =>
    ((toMs === phases.at(-1)!.toMs ? Math.max(toMs, lastDueMs) : toMs) - fromMs) / 1000;
  const tenants = [...new Set(attempts.map(({ tenant }) => tenant))];
  return {
    seconds,
    mostInFlight: record.mostInFlight,
    all: figuresOf(attempts, gaps.get(''), seconds, options),
    phases: Object.fromEntries(
      phases.map((phase) => [phase.name, group(phaseGroup(phase.name), lengthOf(phase))]),
    ),
    tenants:
      tenants.length < 2
        ? {}
        : Object.fromEntries(tenants.map((name) => [name, group(tenantGroup(name), seconds)])),
    generator: generator(attempts),
    series: timeSeries(record),
    messages: Object.fromEntries(record.messages),
    attempts,
  };
}

function groupNames({ dueMs, tenant }: Attempt, phases: readonly Phase[]): string[] {
  const phase = phases.find(({ toMs }) => dueMs < toMs) ?? phases.at(-1);
  return phase ? [phaseGroup(phase.name), tenantGroup(tenant)] : [tenantGroup(tenant)];
}

function phaseGroup(name: string): string {
  return `phase ${name}`;
}

function tenantGroup(name: string): string {
  return `tenant ${name}`;
}
