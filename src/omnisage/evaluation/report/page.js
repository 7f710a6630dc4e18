// Draws the figures in the colors of the page, and again when these change.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = () => ({ gridcolor: color("--line"), zerolinecolor: color("--line"), linecolor: color("--line") });

  function themed(layout) {
    const full = structuredClone(layout);
    full.paper_bgcolor = "rgba(0,0,0,0)";
    full.plot_bgcolor = "rgba(0,0,0,0)";
    full.font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("--text") };
    full.modebar = { bgcolor: "rgba(0,0,0,0)", color: color("--soft"), activecolor: color("--accent") };
    full.hoverlabel = { align: "left" };
    full.margin = { l: 60, r: 16, t: layout.title ? 44 : 16, b: 44, ...layout.margin };
    full.legend = { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, ...layout.legend };
    full.xaxis = { automargin: true, ...axis(), ...layout.xaxis };
    full.yaxis = { automargin: true, ...axis(), ...layout.yaxis };
    return full;
  }

  function draw(figure) {
    const { data, layout, zoomable } = JSON.parse(figure.querySelector("script").textContent);
    const config = { displaylogo: false, displayModeBar: zoomable && "hover", responsive: true };
    Plotly.react(figure.querySelector(".plot"), data, themed(layout), config);
  }

  // One figure at a time, so that the page stays usable while it fills.
  const figures = [...document.querySelectorAll(".figure")];
  const drawNext = (rest) => {
    if (rest.length) {
      draw(rest[0]);
      setTimeout(drawNext, 0, rest.slice(1));
    }
  };
  drawNext(figures);
  // A figure in a closed part has no width until it is opened. Toggle events do not bubble, so they are captured.
  document.addEventListener("toggle", (event) => {
    event.target.querySelectorAll(".plot.js-plotly-plot").forEach((plot) => Plotly.Plots.resize(plot));
  }, true);
  dark.addEventListener("change", () => drawNext(figures));
})();
