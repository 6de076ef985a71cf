// A histogram whose children are held by who observes. prom-client's own spells its labels out at every observation, and finds
// its bucket by the number's text: too much for what happens once a chunk of every stream. Its registry scrapes these as its own.
import type { Metric, Registry } from 'prom-client';

export interface HistogramOptions {
  readonly name: string;
  readonly help: string;
  /** Upper bounds, rising. */
  readonly buckets: readonly number[];
  readonly registry: Registry;
}

type Labels = Readonly<Record<string, string>>;

/** The observations of one set of labels. */
export class HistogramChild {
  readonly labels: Labels;
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  constructor(labels: Labels, bounds: readonly number[]) {
    this.labels = labels;
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket += 1;
    // What is above all bounds is in the count alone.
    if (bucket < bounds.length) this.#counts[bucket]! += 1;
    this.#sum += value;
    this.#count += 1;
  }

  /** As Prometheus has it: each bucket holds those below it too. */
  samples(name: string): Sample[] {
    const { labels } = this;
    let below = 0;
    const buckets = this.#bounds.map((le, index): Sample => {
      below += this.#counts[index]!;
      return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: below };
    });
    return [
      ...buckets,
      { metricName: `${name}_bucket`, labels: { le: '+Inf', ...labels }, value: this.#count },
      { metricName: `${name}_sum`, labels, value: this.#sum },
      { metricName: `${name}_count`, labels, value: this.#count },
    ];
  }
}

interface Sample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

export class Histogram {
  readonly name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  readonly #children: HistogramChild[] = [];

  constructor({ name, help, buckets, registry }: HistogramOptions) {
    this.name = name;
    this.#help = help;
    this.#bounds = buckets;
    // What the registry asks of a metric is its name and `get`; its types name classes.
    registry.registerMetric(this as unknown as Metric);
  }

  /** A new child, to be kept: nobody else has these labels. */
  child(labels: Labels = {}): HistogramChild {
    const child = new HistogramChild(labels, this.#bounds);
    this.#children.push(child);
    return child;
  }

  /** For the registry. */
  async get(): Promise<object> {
    const values = this.#children.flatMap((child) => child.samples(this.name));
    return { name: this.name, help: this.#help, type: 'histogram', aggregator: 'sum', values };
  }
}
