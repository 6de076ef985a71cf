// The words in which a load is told to people, in English and in Chinese.
// Pure.

export interface Words {
  readonly inFlight: string;
  readonly requests: string;
  readonly complete: string;
  readonly refused: string;
  readonly withRetryAfter: string;
  readonly without: string;
  readonly cameBack: string;
  readonly admitted: string;
  readonly refusedAgain: string;
  readonly gaveUp: string;
  readonly lost: string;
  readonly failed: string;
  readonly why: string;
  readonly unhappy: string;
  readonly goodput: string;
  readonly within: string;
  readonly outputTokens: string;
  readonly promptTokens: string;
  readonly cached: string;
  readonly firstToken: string;
  readonly perToken: string;
  readonly between: string;
  readonly wholeAnswer: string;
  readonly longestGap: string;
  readonly refusal: string;
  readonly mean: string;
  readonly most: string;
  readonly stutters: string;
  readonly inAnswers: string;
  readonly phases: Readonly<Record<'before' | 'surge' | 'after', string>>;
  readonly piecesPerSecond: string;
  readonly tokensPerSecond: string;
  readonly perSecond: string;
  readonly generator: string;
  readonly late: string;
  readonly reading: string;
  readonly ofOneCore: string;
  readonly tooSlow: string;
  readonly serverSaid: string;
}

export const ENGLISH: Words = {
  inFlight: 'in flight',
  requests: 'requests',
  complete: 'complete',
  refused: 'refused',
  withRetryAfter: 'with Retry-After',
  without: 'without',
  cameBack: 'came back',
  admitted: 'answered then',
  refusedAgain: 'refused again',
  gaveUp: 'gave up',
  lost: 'lost',
  failed: 'failed',
  why: 'why',
  unhappy: 'left or failed',
  goodput: 'goodput',
  within: 'within',
  outputTokens: 'tokens of answers',
  promptTokens: 'of prompts',
  cached: 'cached',
  firstToken: 'first token',
  perToken: 'time per token',
  between: 'between pieces',
  wholeAnswer: 'whole answer',
  longestGap: 'longest gap',
  refusal: 'refusal',
  mean: 'mean',
  most: 'most',
  stutters: 'stutters (over 500 ms)',
  inAnswers: 'in answers',
  phases: { before: 'before', surge: 'surge', after: 'after' },
  piecesPerSecond: 'pieces/s',
  tokensPerSecond: 'tokens/s',
  perSecond: '/s',
  generator: 'load generator',
  late: 'late P99',
  reading: 'reading delay P99',
  ofOneCore: 'of a core',
  tooSlow:
    'The load generator was too slow itself: these times are in good part its own. Send less, or from another machine.',
  serverSaid: 'the server said',
};

export const CHINESE: Words = {
  inFlight: '进行中',
  requests: '请求',
  complete: '完成',
  refused: '拒绝',
  withRetryAfter: '带 Retry-After',
  without: '不带',
  cameBack: '按时返回',
  admitted: '随后得到回答',
  refusedAgain: '再次被拒',
  gaveUp: '放弃',
  lost: '中断',
  failed: '失败',
  why: '原因',
  unhappy: '离开或失败',
  goodput: '有效吞吐',
  within: '限定',
  outputTokens: '回答 token',
  promptTokens: '提示 token',
  cached: '缓存命中',
  firstToken: '首 token',
  perToken: '每 token 耗时',
  between: '片段间隔',
  wholeAnswer: '完整回答',
  longestGap: '最长停顿',
  refusal: '拒绝耗时',
  mean: '平均',
  most: '最大',
  stutters: '卡顿（超过 500 ms）',
  inAnswers: '涉及回答',
  phases: { before: '之前', surge: '高峰', after: '之后' },
  piecesPerSecond: '片段/秒',
  tokensPerSecond: 'token/秒',
  perSecond: '/秒',
  generator: '压测端',
  late: '发送延迟 P99',
  reading: '读取延迟 P99',
  ofOneCore: '单核占用',
  tooSlow: '压测端自身过慢：以上时间很大一部分来自它本身。请降低负载，或换一台机器发送。',
  serverSaid: '服务器返回',
};
