import type { EChartsOption, SeriesOption } from 'echarts';
import { wilsonInterval } from '../../domain/proportion.ts';
import { escapeMarkup } from '../../platform/markup.ts';
import { amountText, described, valueText, type Words } from './in-words.ts';
import type { MetricAnswer, SeriesPoint } from './model.ts';

/*
 * A metric as a picture. The kind of chart follows from what an answer has: a line for a series, bars for groups, otherwise the one
 * value. A metric whose groups mean something else says how they are drawn (`Drawing`).
 */

/** How the groups of a metric are drawn, when not as bars. */
export type Drawing =
  /** Groups with a series each, one below the other. */
  | 'heat map'
  /** Keys are shares of customers in per cent, values are shares of the whole. */
  | 'lorenz'
  /** Bars whose values are shares, whatever the unit of the whole is. */
  | 'shares';

const width = 800;
const height = 450;

/** Colours on white. Each has one for a dark page: attributes lose against the rules of a style sheet. */
const colours = {
  paper: ['#ffffff', '#0d1117'],
  ink: ['#1f2328', '#e6edf3'],
  muted: ['#59636e', '#9198a1'],
  grid: ['#d1d9e0', '#3d444d'],
  line: ['#0969da', '#4493f8'],
  band: ['#c8dff7', '#1c3a5e'],
} as const;
const light = Object.fromEntries(Object.entries(colours).map(([name, [first]]) => [name, first])) as Record<
  keyof typeof colours,
  string
>; // the same names
/** For several lines and parts; told apart by those who see few colours (Okabe and Ito). */
const palette = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c6d31', '#7f7f7f'];

/**
 * An SVG without script, links and foreign objects, legible on light and dark pages.
 *
 * @param name what people call the metric
 */
export async function chartOf(name: string, answer: MetricAnswer, drawing: Drawing | null): Promise<string> {
  const words = described(name, answer);
  const { init } = await library();
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({ ...frame(words), ...(hasValues(answer) && contentOf(answer, drawing)) });
    return finished(chart.renderToSVGString(), words);
  } finally {
    chart.dispose();
  }
}

function hasValues({ value, series, groups }: MetricAnswer): boolean {
  return [{ value }, ...series, ...groups].some((part) => part.value !== null);
}

let loading: Promise<typeof import('echarts/core')> | null = null;

/** Loaded for the first picture: it takes 40 MB. */
function library(): Promise<typeof import('echarts/core')> {
  loading ??= load();
  return loading;
}

async function load() {
  const [core, charts, components, { SVGRenderer }] = await Promise.all([
    import('echarts/core'),
    import('echarts/charts'),
    import('echarts/components'),
    import('echarts/renderers'),
  ]);
  const { BarChart, CustomChart, HeatmapChart, LineChart } = charts;
  const { GridComponent, LegendComponent, TitleComponent, VisualMapComponent } = components;
  core.use([BarChart, CustomChart, HeatmapChart, LineChart, SVGRenderer]);
  core.use([GridComponent, LegendComponent, TitleComponent, VisualMapComponent]);
  return core;
}

function frame({ title, subtitle }: Words): EChartsOption {
  return {
    animation: false,
    backgroundColor: light.paper,
    color: palette,
    textStyle: { fontFamily: 'system-ui, sans-serif', color: light.ink },
    title: {
      text: title,
      subtext: subtitle,
      left: 24,
      top: 16,
      textStyle: { fontSize: 20, fontWeight: 600, color: light.ink, width: width - 48, overflow: 'truncate' },
      subtextStyle: { fontSize: 13, color: light.muted, width: width - 48, overflow: 'truncate' },
    },
    grid: { left: 24, right: 32, top: 96, bottom: 32, ...keepLabels },
  };
}

function contentOf(answer: MetricAnswer, drawing: Drawing | null): EChartsOption {
  if (drawing === 'heat map') return heatMap(answer);
  // With `groupBy` the groups are others.
  if (drawing === 'lorenz' && answer.groups.every(({ key }) => /^top_\d+$/.test(key))) return lorenz(answer);
  if (drawing === 'shares') return bars({ ...answer, unit: 'ratio' });
  const lines = answer.groups.filter(({ series }) => series.length > 0).slice(0, palette.length);
  if (lines.length > 0) {
    return lineChart(
      answer,
      lines.map(({ key, series }) => ({ name: key, series })),
    );
  }
  if (answer.series.length > 0) return lineChart(answer, [{ name: '', series: answer.series }]);
  return bars(answer);
}

/** The grid shrinks so that labels of axes fit inside. */
const keepLabels = { outerBoundsMode: 'same', outerBoundsContain: 'axisLabel' } as const;

const axisLabel = (answer: MetricAnswer) => ({
  color: light.muted,
  formatter: (value: string | number) => valueText(answer, Number(value)),
});
const valueAxis = (answer: MetricAnswer) => ({
  type: 'value' as const,
  axisLabel: axisLabel(answer),
  splitLine: { lineStyle: { color: light.grid } },
});
const categories = (data: readonly string[]) => ({
  type: 'category' as const,
  data: [...data],
  axisLabel: { color: light.muted, hideOverlap: true, width: 150, overflow: 'truncate' as const },
  axisLine: { lineStyle: { color: light.muted } },
  axisTick: { show: false },
});
const quiet = { silent: true, emphasis: { disabled: true } } as const;

/** Values over time. Intervals that still run are dashed; a rate has the band of its 95 % interval. */
function lineChart(answer: MetricAnswer, lines: readonly { name: string; series: readonly SeriesPoint[] }[]) {
  const starts = [...new Set(lines.flatMap(({ series }) => series.map(({ start }) => start)))].sort();
  const only = lines.length === 1 ? lines[0] : undefined;
  const band = only && answer.interval && answer.unit === 'ratio' ? bandOf(only.series) : [];
  return {
    ...(lines.length > 1 && { legend: { top: 64, left: 20, textStyle: { color: light.ink } } }),
    xAxis: categories(starts),
    yAxis: { ...valueAxis(answer), scale: answer.unit === 'days' || answer.unit === 'money' },
    series: [
      ...band,
      ...lines.flatMap(({ name, series }, index): SeriesOption[] => {
        const colour = only ? light.line : (palette[index] ?? light.line);
        const at = new Map(series.map((point) => [point.start, point]));
        const points = starts.map((start) => at.get(start));
        const valueIf = (wanted: (index: number) => boolean) =>
          points.map((point, index) => (point && wanted(index) ? point.value : null));
        const runs = (index: number) => points[index]?.complete === false;
        return [
          {
            ...quiet,
            type: 'line',
            name,
            data: valueIf((index) => !runs(index)),
            symbolSize: 7,
            color: colour,
            lineStyle: { width: 2 },
          },
          {
            ...quiet,
            type: 'line',
            // From the last one that has ended to those that run.
            data: valueIf((index) => runs(index) || runs(index + 1) || runs(index - 1)),
            symbol: 'emptyCircle',
            symbolSize: 7,
            color: colour,
            lineStyle: { width: 2, type: 'dashed' },
          },
        ];
      }),
    ],
  } satisfies EChartsOption;
}

function bandOf(series: readonly SeriesPoint[]): SeriesOption[] {
  const intervals = series.map(({ numerator, denominator }) =>
    numerator === null || denominator === null ? null : wilsonInterval(numerator, denominator),
  );
  const area = { ...quiet, type: 'line', stack: 'band', symbol: 'none', lineStyle: { opacity: 0 } } as const;
  return [
    { ...area, data: intervals.map((interval) => interval?.low ?? null) },
    {
      ...area,
      data: intervals.map((interval) => (interval ? interval.high - interval.low : null)),
      areaStyle: { color: light.band, opacity: 1 },
    },
  ];
}

/** One bar for each group, or for the value, with its interval. */
function bars(answer: MetricAnswer) {
  const parts = answer.groups.length > 0 ? answer.groups : [{ ...answer, key: '' }];
  const shown = parts.slice(0, 30).reverse();
  return {
    yAxis: categories(shown.map(({ key }) => key)),
    xAxis: valueAxis(answer),
    series: [
      {
        ...quiet,
        type: 'bar',
        data: shown.map(({ value }) => value),
        barMaxWidth: 36,
        color: light.line,
        label: {
          show: true,
          position: 'right',
          color: light.ink,
          formatter: ({ dataIndex }: { dataIndex: number }) => valueText(answer, shown[dataIndex]?.value ?? null),
        },
      },
      {
        silent: true,
        type: 'custom',
        data: shown.flatMap(({ interval }, index) => (interval ? [[interval.low, interval.high, index]] : [])),
        encode: { x: [0, 1], y: 2 },
        renderItem: (_, api) => {
          const [left, y] = api.coord([api.value(0), api.value(2)]);
          const [right] = api.coord([api.value(1), api.value(2)]);
          const line = (x1: number, y1: number, x2: number, y2: number) => ({
            type: 'line' as const,
            shape: { x1, y1, x2, y2 },
            style: { stroke: light.ink, lineWidth: 1.5 },
          });
          if (left === undefined || y === undefined || right === undefined) return { type: 'group', children: [] };
          const below = y + 24;
          return {
            type: 'group',
            children: [
              line(left, below, right, below),
              line(left, below - 4, left, below + 4),
              line(right, below - 4, right, below + 4),
            ],
          };
        },
      },
    ],
  } satisfies EChartsOption;
}

/** The latest of them: more would be too small to read. */
const mostCohorts = 36;

/** A row for each cohort, a column for each interval since. */
function heatMap(answer: MetricAnswer) {
  const rows = answer.groups.slice(-mostCohorts);
  const most = Math.max(1, ...rows.map(({ series }) => series.length));
  const cells = rows.flatMap(({ series }, row) =>
    series.flatMap(({ value, complete }, column) =>
      // The first one is the whole cohort, and would outshine the others.
      value === null || column === 0 ? [] : [{ value: [column - 1, row, value], complete }],
    ),
  );
  const few = most <= 25;
  return {
    xAxis: categories(Array.from({ length: Math.max(1, most - 1) }, (_, index) => `+${index + 1}`)),
    yAxis: {
      ...categories(rows.map(({ key, series: [whole] }) => `${key} (${amountText(whole?.denominator ?? 0)})`)),
      inverse: true,
    },
    visualMap: {
      show: false,
      min: 0,
      max: Math.max(0.0001, ...cells.map(({ value: [, , value] }) => value ?? 0)),
      inRange: { color: ['#eef5fc', '#54a0e8'] },
    },
    series: [
      {
        ...quiet,
        type: 'heatmap',
        data: cells.map(({ value, complete }) => ({
          value,
          // Still running.
          ...(!complete && { itemStyle: { opacity: 0.5 } }),
        })),
        label: {
          show: few && rows.length <= 25,
          color: '#1f2328',
          fontSize: 10,
          formatter: ({ data }) => {
            const [, , value] = (data as { value: number[] }).value; // as given above
            return valueText(answer, value ?? null, 0);
          },
        },
      },
    ],
  } satisfies EChartsOption;
}

/** The share of the whole that the best customers bring, against the diagonal of a shop whose customers are all alike. */
function lorenz(answer: MetricAnswer) {
  const points = answer.groups.flatMap(({ key, value }): [number, number][] => {
    const share = Number(/\d+(\.\d+)?$/.exec(key)?.[0] ?? Number.NaN) / 100;
    return value === null || Number.isNaN(share) ? [] : [[share, value]];
  });
  const curve = [[0, 0], ...points.sort(([a], [b]) => a - b), [1, 1]];
  const share = {
    type: 'value' as const,
    min: 0,
    axisLabel: axisLabel(answer),
    splitLine: { lineStyle: { color: light.grid } },
    nameTextStyle: { color: light.muted },
    nameLocation: 'middle' as const,
    nameGap: 40,
  };
  return {
    grid: { left: 40, right: 32, top: 96, bottom: 48, ...keepLabels },
    xAxis: { ...share, name: 'Share of customers, best first', max: 1, nameGap: 32 },
    yAxis: { ...share, name: 'Share of net revenue', nameGap: 48 },
    series: [
      {
        ...quiet,
        type: 'line',
        data: [
          [0, 0],
          [1, 1],
        ],
        symbol: 'none',
        lineStyle: { color: light.muted, type: 'dashed' },
      },
      {
        ...quiet,
        type: 'line',
        data: points.length > 0 ? curve : [],
        symbolSize: 7,
        color: light.line,
        lineStyle: { width: 2 },
      },
    ],
  } satisfies EChartsOption;
}

/** Says what it is to those who do not see it, and to a dark page how. */
function finished(svg: string, { title, text }: Words): string {
  const dark = Object.values(colours).map(([on, off]) => `[fill="${on}"]{fill:${off}}[stroke="${on}"]{stroke:${off}}`);
  const style = `<style>@media (prefers-color-scheme:dark){${dark.join('')}}</style>`;
  const head = `<title id="title">${escapeMarkup(title)}</title><desc id="desc">${escapeMarkup(text)}</desc>${style}`;
  return (
    svg
      // Of effects that need a pointer.
      .replace(/<style\s*>(?:(?!<\/style>)[\s\S])*<\/style>/, '')
      .replace(/ xmlns:xlink="[^"]*"/, '')
      .replace(/^<svg /, '<svg role="img" aria-labelledby="title desc" ')
      .replace(/^(<svg [^>]*>)/, `$1${head.replaceAll('$', '$$$$')}`)
  );
}
