// Draws the charts of a report. Text first: Plotly, which takes a second to load, is a text until the page is there.
// Then the charts in view, then the others as they come near or when there is nothing else to do.
"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)").matches;
  const narrow = () => innerWidth < 640;
  let styles;

  const color = (name) => styles.getPropertyValue("--" + name).trim();
  const scale = (name, stops) => [0, 1, 2].map((step) => [step / 2, color(name + "-" + (stops ? 2 - step : step))]);
  const scales = {
    "@heat": () => scale("heat"), "@scale": () => scale("scale"), "@scale-reversed": () => scale("scale", true),
  };

  // Only values of keys that are colours: names from the data may look the same.
  const coloured = (value, key) => {
    if (typeof value === "string") {
      if (!value.startsWith("@") || !/color(scale)?$/.test(key)) return value;
      return scales[value] ? scales[value]() : color(value.slice(1));
    }
    if (Array.isArray(value)) return value.length && typeof value[0] === "object" && value[0] !== null && !Array.isArray(value[0]) ? value.map((one) => coloured(one, key)) : value;
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, coloured(one, name)]));
    }
    return value;
  };

  const layoutOf = (given) => {
    const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("muted") };
    const axis = {
      automargin: true, gridcolor: color("grid"), linecolor: color("line"), zerolinecolor: color("line"),
      tickcolor: color("line"), title: { font: { ...font, size: 12.5 }, standoff: 8 },
    };
    const layout = coloured(given, "");
    const legend = { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", font: { size: 12 } };
    const merged = {
      autosize: true, font, showlegend: true, paper_bgcolor: color("surface"),
      plot_bgcolor: color("transparent"), dragmode: touch ? false : "zoom",
      hoverlabel: { bgcolor: color("text"), bordercolor: color("text"), font: { ...font, color: color("surface") } },
      ...layout,
      legend: { ...legend, ...layout.legend },
      margin: { l: narrow() ? 44 : 56, r: 14, t: 40, b: 44, ...layout.margin },
    };
    for (const name of ["xaxis", "yaxis"]) {
      const own = layout[name] || {};
      merged[name] = { ...axis, ...own, title: { ...axis.title, ...own.title } };
    }
    return merged;
  };

  const draw = (place) => {
    const chart = charts[place.dataset.chart];
    place.dataset.drawn = "1";
    return Plotly.react(place, coloured(chart.data, ""), layoutOf(chart.layout), {
      displayModeBar: false, responsive: true, scrollZoom: false, showTips: false,
    });
  };

  const places = [...document.querySelectorAll("[data-chart]")];
  const waiting = () => places.filter((place) => !place.dataset.drawn);
  const all = () => waiting().forEach(draw);
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 50));
  const rest = () => {
    const [next] = waiting();
    if (next) { draw(next); idle(rest); } else { mark("drawn"); }
  };
  // Times since the page was opened, in milliseconds: for tests, and for whoever wonders.
  const mark = (name) => { document.documentElement.dataset[name] = String(Math.round(performance.now())); };

  styles = getComputedStyle(document.documentElement);
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !entry.target.dataset.drawn) draw(entry.target);
  }, { rootMargin: "200px" });
  const start = () => {
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.head.append(script);
    waiting().filter((place) => place.getBoundingClientRect().top < innerHeight).forEach(draw);
    mark("charted");
    places.forEach((place) => near.observe(place));
    idle(rest);
    addEventListener("beforeprint", all);
    dark.addEventListener("change", () => {
      styles = getComputedStyle(document.documentElement);
      places.filter((place) => place.dataset.drawn).forEach(draw);
    });
  };
  mark("opened");
  setTimeout(start, 30);
})();
