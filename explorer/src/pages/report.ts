/** The shape of `/v1/health-report`. What a model or a run does not have is null or missing. */

export interface HistogramData {
  edges: number[]; // one more than counts
  counts: number[];
}

export interface Norms {
  mean: number;
  std: number;
  min: number;
  max: number;
  histogram: HistogramData;
}

export interface Hubness {
  k: number;
  skewness: number;
  max: number; // lists that the most frequent entity is in
  never: number; // share of entities that are in no list
  histogram: HistogramData;
}

export interface TypeHealth {
  entities: number;
  norms: Norms;
  effective_rank: number;
  hubness?: Hubness | null;
  alignment?: number | null;
  uniformity?: number | null;
}

export interface RecallRow {
  task: string;
  name: string; // what is asked with, and for
  metric: string;
  label: string; // the slice of the candidates
  meaning: string;
  queries: number;
  value: number;
  lower?: number | null;
  upper?: number | null;
}

export interface Drift {
  common: number;
  mean_cosine: number | null;
  mean_cosine_aligned: number | null;
  histogram: HistogramData | null; // of the cosines once aligned
  neighbor_overlap: number | null;
}

export interface HealthReport {
  types: Record<string, TypeHealth>;
  recall_by_degree: RecallRow[];
  evaluation: { headers: string[]; rows: string[][] } | null;
  drift: Record<string, Drift> | null;
}
