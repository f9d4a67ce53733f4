/**
 * Logistic regression with an L2 penalty, fitted by Newton's method (iteratively reweighted least squares; Hastie,
 * Tibshirani & Friedman, The Elements of Statistical Learning, 2nd ed., section 4.4.1). It maximises
 *
 *     Σ weight · (y · η − ln(1 + e^η)) − penalty / 2 · Σ coefficient²,   η = intercept + Σ coefficient · value
 *
 * which is what scikit-learn's LogisticRegression fits with C = 1 / penalty. The intercept is not penalised.
 *
 * Own code, since npm has no optimiser that fits: ml-logistic-regression takes a fixed number of gradient steps, without
 * penalty, intercept or a test of convergence; scikitjs needs TensorFlow; fmin and optimization-js are general minimisers
 * (conjugate gradients, L-BFGS) that keep the event loop for the whole fit. With some hundred columns Newton's method is
 * exact within ten passes.
 */

/** Rows of a matrix with mostly zeros, added one by one; 12 bytes per entry that is not zero and 4 per row. */
export class SparseMatrix {
  readonly columns: number;
  #rows = 0;
  #entries = 0;
  readonly #sealed: Block[] = [];
  /** The block being filled; its arrays grow until it has all of its rows. */
  #ends = new Uint32Array(rowsPerBlock);
  #blockColumns = new Uint32Array(rowsPerBlock);
  #blockValues = new Float64Array(rowsPerBlock);
  #blockRows = 0;
  #blockEntries = 0;

  /** @throws RangeError unless `columns` is a count */
  constructor(columns: number) {
    if (!Number.isSafeInteger(columns) || columns < 0) throw new RangeError(`a matrix of ${columns} columns`);
    this.columns = columns;
  }

  get rows(): number {
    return this.#rows;
  }

  /** Entries kept, zeros that were given included. */
  get entries(): number {
    return this.#entries;
  }

  /**
   * Adds a row: the values that are not zero and their columns, ascending.
   * @throws RangeError when a column is outside the matrix or not after the one before it, or a value is not finite
   */
  append({ columns, values }: SparseRow): void {
    const size = columns.length;
    if (values.length !== size) throw new RangeError(`${size} columns, but ${values.length} values`);
    this.#reserve(this.#blockEntries + size);
    let previous = -1;
    for (let i = 0; i < size; i++) {
      const column = columns[i] ?? Number.NaN;
      const value = values[i] ?? Number.NaN;
      if (!(Number.isSafeInteger(column) && column > previous && column < this.columns)) {
        throw new RangeError(`column ${column} after ${previous} in a matrix of ${this.columns} columns`);
      }
      if (!Number.isFinite(value)) throw new RangeError(`the value of column ${column} is ${value}`);
      this.#blockColumns[this.#blockEntries + i] = column;
      this.#blockValues[this.#blockEntries + i] = value;
      previous = column;
    }
    this.#blockEntries += size;
    this.#entries += size;
    this.#ends[this.#blockRows] = this.#blockEntries;
    this.#blockRows++;
    this.#rows++;
    if (this.#blockRows === rowsPerBlock) this.#seal();
  }

  /** All rows in order, in blocks of at most 1,024. */
  blocks(): readonly Block[] {
    if (this.#blockRows > 0) this.#seal();
    return this.#sealed;
  }

  #reserve(entries: number): void {
    if (entries <= this.#blockColumns.length) return;
    const size = Math.max(entries, 2 * this.#blockColumns.length);
    const columns = new Uint32Array(size);
    const values = new Float64Array(size);
    columns.set(this.#blockColumns.subarray(0, this.#blockEntries));
    values.set(this.#blockValues.subarray(0, this.#blockEntries));
    this.#blockColumns = columns;
    this.#blockValues = values;
  }

  #seal(): void {
    this.#sealed.push({
      firstRow: this.#rows - this.#blockRows,
      ends: this.#ends.slice(0, this.#blockRows),
      columns: this.#blockColumns.slice(0, this.#blockEntries),
      values: this.#blockValues.slice(0, this.#blockEntries),
    });
    this.#blockRows = 0;
    this.#blockEntries = 0;
  }
}

/** What is not zero in one row: columns ascending, and the value of each. */
export interface SparseRow {
  readonly columns: ArrayLike<number>;
  readonly values: ArrayLike<number>;
}

/** Consecutive rows; row i has the entries from `ends[i − 1]` (0 for the first) up to `ends[i]`. */
export interface Block {
  readonly firstRow: number;
  readonly ends: Uint32Array;
  readonly columns: Uint32Array;
  readonly values: Float64Array;
}

const rowsPerBlock = 1024;

export interface LinearModel {
  readonly intercept: number;
  /** One per column. */
  readonly coefficients: readonly number[];
}

export interface LogisticFit extends LinearModel {
  readonly iterations: number;
  /** False when the iterations ran out, or the likelihood could not be raised any more before the last step was small. */
  readonly converged: boolean;
  /** Σ weight · ln P(outcome), without the penalty. */
  readonly logLikelihood: number;
}

export interface FitOptions {
  /** Strength of the penalty, greater than 0. Default: 1. Columns should be of about the same scale. */
  readonly penalty?: number;
  /** How often each row counts, 0 leaves it out. Default: once. */
  readonly weights?: ArrayLike<number>;
  /** Default: 50. */
  readonly maximumIterations?: number;
}

/** Multiplications between two yields: about 10 ms. */
const stint = 4_000_000;
/** A step whose gain is below this part of the objective is the last one; Newton's error is then its square. */
const tolerance = 1e-10;

/**
 * Fits the model. A generator, so that a fit of seconds does not keep the event loop: every `next()` works for some 10 ms
 * and yields nothing; call it until it is done, and let others run in between. The same rows give the same result,
 * whatever the caller does between.
 * Columns without entries get the coefficient 0, a constant column shares its effect with the intercept (which takes most
 * of it, being free), and data that a plane separates end at finite coefficients: the penalty sees to all three. Without columns the
 * intercept is the log-odds of the share.
 * @throws RangeError when the rows and outcomes (0 or 1) do not fit together, when rows of both outcomes are not there, or
 *   the penalty is not greater than 0
 */
export function* fitLogisticRegression(
  matrix: SparseMatrix,
  outcomes: ArrayLike<number>,
  { penalty = 1, weights, maximumIterations = 50 }: FitOptions = {},
): Generator<void, LogisticFit, void> {
  if (!(penalty > 0 && Number.isFinite(penalty))) throw new RangeError(`a penalty of ${penalty}`);
  const problem = newProblem(matrix, outcomes, penalty, weights);
  const { size } = problem;
  const work = newWorkload();
  let point = new Float64Array(size);
  point[size - 1] = Math.log(problem.weightOfOnes / problem.weightOfZeros);
  let logOdds = new Float64Array(matrix.rows);
  let candidateLogOdds = new Float64Array(matrix.rows);
  let value = yield* evaluate(problem, point, logOdds, work);
  const gradient = new Float64Array(size);
  const hessian = new Float64Array(size * size);
  let iterations = 0;
  let converged = false;
  while (!converged && iterations < maximumIterations) {
    iterations++;
    yield* differentiate(problem, point, logOdds, gradient, hessian, work);
    const step = yield* solve(hessian, gradient, work);
    const gain = dot(step, gradient) / 2;
    const small = tolerance * (1 + Math.abs(value.objective));
    converged = gain <= small;
    // The gain of the last step cannot be told from the rounding of the sum any more.
    const least = value.objective - (converged ? small : 0);
    let raised = false;
    for (let factor = 1; !raised && factor > 1e-9; factor /= 2) {
      const candidate = point.map((at, i) => at + factor * (step[i] ?? 0));
      const reached = yield* evaluate(problem, candidate, candidateLogOdds, work);
      raised = reached.objective > least;
      if (raised) {
        point = candidate;
        value = reached;
        [logOdds, candidateLogOdds] = [candidateLogOdds, logOdds];
      }
    }
    if (!raised) break;
  }
  return {
    intercept: point[size - 1] ?? 0,
    coefficients: [...point.subarray(0, size - 1)],
    iterations,
    converged,
    logLikelihood: value.logLikelihood,
  };
}

/** η of every row under the model. @throws RangeError when the model has other columns */
export function logOddsOfRows(matrix: SparseMatrix, model: LinearModel): Float64Array {
  if (model.coefficients.length !== matrix.columns) {
    throw new RangeError(`${model.coefficients.length} coefficients for ${matrix.columns} columns`);
  }
  const logOdds = new Float64Array(matrix.rows);
  const point = Float64Array.from([...model.coefficients, model.intercept]);
  for (const block of matrix.blocks()) addBlock(block, point, logOdds);
  return logOdds;
}

/** 1 ÷ (1 + e^−η) */
export function probabilityOf(logOdds: number): number {
  return 1 / (1 + Math.exp(-logOdds));
}

/**
 * η of every row by a model that has not seen it: fitted once per fold on the rows of the other folds. A generator as
 * `fitLogisticRegression`, with its errors (rows of both outcomes have to be outside every fold).
 * @throws RangeError when the folds (0 … count − 1 for each row) do not fit the rows
 */
export function* crossValidate(
  matrix: SparseMatrix,
  outcomes: ArrayLike<number>,
  folds: { readonly of: ArrayLike<number>; readonly count: number },
  options: Omit<FitOptions, 'weights'> = {},
): Generator<void, Float64Array, void> {
  if (folds.of.length !== matrix.rows) throw new RangeError(`${folds.of.length} folds for ${matrix.rows} rows`);
  const unseen = new Float64Array(matrix.rows).fill(Number.NaN);
  for (let fold = 0; fold < folds.count; fold++) {
    const weights = Uint8Array.from(folds.of, (other) => (other === fold ? 0 : 1));
    const logOdds = logOddsOfRows(matrix, yield* fitLogisticRegression(matrix, outcomes, { ...options, weights }));
    for (let row = 0; row < matrix.rows; row++) {
      if (folds.of[row] === fold) unseen[row] = logOdds[row] ?? Number.NaN;
    }
  }
  if (unseen.some(Number.isNaN)) throw new RangeError(`a row is in none of the ${folds.count} folds`);
  return unseen;
}

interface Problem {
  readonly matrix: SparseMatrix;
  readonly outcomes: Float64Array;
  readonly weights: Float64Array;
  readonly weightOfOnes: number;
  readonly weightOfZeros: number;
  readonly penalty: number;
  /** Columns and the intercept, which comes last. */
  readonly size: number;
}

function newProblem(
  matrix: SparseMatrix,
  outcomes: ArrayLike<number>,
  penalty: number,
  weights: ArrayLike<number> | undefined,
): Problem {
  const rows = matrix.rows;
  if (outcomes.length !== rows || (weights !== undefined && weights.length !== rows)) {
    throw new RangeError(`${outcomes.length} outcomes and ${weights?.length ?? rows} weights for ${rows} rows`);
  }
  const problem = {
    matrix,
    outcomes: Float64Array.from(outcomes),
    weights: weights === undefined ? new Float64Array(rows).fill(1) : Float64Array.from(weights),
    weightOfOnes: 0,
    weightOfZeros: 0,
    penalty,
    size: matrix.columns + 1,
  };
  for (let row = 0; row < rows; row++) {
    const outcome = problem.outcomes[row];
    const weight = problem.weights[row] ?? Number.NaN;
    if (!(weight >= 0 && Number.isFinite(weight))) throw new RangeError(`row ${row} has the weight ${weight}`);
    if (outcome === 1) problem.weightOfOnes += weight;
    else if (outcome === 0) problem.weightOfZeros += weight;
    else throw new RangeError(`the outcome of row ${row} is ${outcome}`);
  }
  if (problem.weightOfOnes === 0 || problem.weightOfZeros === 0) {
    throw new RangeError('all rows have the same outcome: there is nothing to tell apart');
  }
  return problem;
}

interface Workload {
  /** True when the caller should be let in; counts anew from then on. */
  isDue(multiplications: number): boolean;
}

function newWorkload(): Workload {
  let done = 0;
  return {
    isDue(multiplications) {
      done += multiplications;
      if (done < stint) return false;
      done = 0;
      return true;
    },
  };
}

/** η of the rows of a block. */
function addBlock({ firstRow, ends, columns, values }: Block, point: Float64Array, logOdds: Float64Array): void {
  const intercept = point[point.length - 1] ?? 0;
  let entry = 0;
  for (let i = 0; i < ends.length; i++) {
    const end = ends[i] as number; // inside the block
    let sum = intercept;
    for (; entry < end; entry++) sum += (point[columns[entry] as number] as number) * (values[entry] as number);
    logOdds[firstRow + i] = sum;
  }
}

/** The objective at a point; writes η of every row. */
function* evaluate(
  { matrix, outcomes, weights, penalty }: Problem,
  point: Float64Array,
  logOdds: Float64Array,
  work: Workload,
): Generator<void, { objective: number; logLikelihood: number }, void> {
  let logLikelihood = 0;
  for (const block of matrix.blocks()) {
    addBlock(block, point, logOdds);
    const end = block.firstRow + block.ends.length;
    for (let row = block.firstRow; row < end; row++) {
      const eta = logOdds[row] as number; // written above
      // ln(1 + e^η) without overflow
      const softplus = Math.max(eta, 0) + Math.log1p(Math.exp(-Math.abs(eta)));
      logLikelihood += (weights[row] as number) * ((outcomes[row] as number) * eta - softplus);
    }
    if (work.isDue(block.columns.length + 40 * block.ends.length)) yield;
  }
  let squares = 0;
  for (let i = 0; i < point.length - 1; i++) squares += (point[i] as number) ** 2;
  return { objective: logLikelihood - (penalty / 2) * squares, logLikelihood };
}

/** Gradient, and the negative Hessian below and on its diagonal (row by row), both at the point that η belongs to. */
function* differentiate(
  { matrix, outcomes, weights, penalty, size }: Problem,
  point: Float64Array,
  logOdds: Float64Array,
  gradient: Float64Array,
  hessian: Float64Array,
  work: Workload,
): Generator<void, void, void> {
  gradient.fill(0);
  hessian.fill(0);
  const last = size - 1;
  for (let i = 0; i < last; i++) {
    gradient[i] = -penalty * (point[i] as number);
    hessian[i * size + i] = penalty;
  }
  for (const { firstRow, ends, columns, values } of matrix.blocks()) {
    let multiplications = 40 * ends.length;
    let start = 0;
    // Entries are read where they are known to be: `as number` here and below, since a check costs a third of the time.
    for (let i = 0; i < ends.length; i++) {
      const end = ends[i] as number;
      const row = firstRow + i;
      const weight = weights[row] as number;
      if (weight !== 0) {
        const p = probabilityOf(logOdds[row] as number);
        const residual = weight * ((outcomes[row] as number) - p);
        const curvature = weight * p * (1 - p);
        for (let a = start; a < end; a++) {
          const column = columns[a] as number;
          const value = values[a] as number;
          (gradient[column] as number) += residual * value;
          const scaled = curvature * value;
          const at = column * size;
          for (let b = start; b <= a; b++) {
            (hessian[at + (columns[b] as number)] as number) += scaled * (values[b] as number);
          }
          (hessian[last * size + column] as number) += scaled;
        }
        (gradient[last] as number) += residual;
        (hessian[last * size + last] as number) += curvature;
        multiplications += ((end - start) * (end - start + 5)) / 2;
      }
      start = end;
    }
    if (work.isDue(multiplications)) yield;
  }
}

/**
 * x of A x = b for a symmetric, positive definite A, of which the lower half is read and overwritten (Cholesky). A pivot
 * that rounding has eaten is set to 1e-14 of its diagonal: what comes out still points uphill.
 */
function* solve(a: Float64Array, b: Float64Array, work: Workload): Generator<void, Float64Array, void> {
  const size = b.length;
  const x = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    const rowI = i * size;
    const diagonal = a[rowI + i] as number;
    let right = b[i] as number;
    for (let j = 0; j <= i; j++) {
      const rowJ = j * size;
      let rest = a[rowI + j] as number;
      for (let k = 0; k < j; k++) rest -= (a[rowI + k] as number) * (a[rowJ + k] as number);
      if (j < i) {
        const entry = rest / (a[rowJ + j] as number);
        a[rowI + j] = entry;
        right -= entry * (x[j] as number);
      } else {
        a[rowI + i] = Math.sqrt(Math.max(rest, diagonal * 1e-14, Number.MIN_VALUE));
      }
    }
    x[i] = right / (a[rowI + i] as number);
    if (work.isDue((i * i) / 2)) yield;
  }
  for (let i = size - 1; i >= 0; i--) {
    let rest = x[i] as number;
    for (let k = i + 1; k < size; k++) rest -= (a[k * size + i] as number) * (x[k] as number);
    x[i] = rest / (a[i * size + i] as number);
  }
  return x;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
