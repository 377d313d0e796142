// Draws the charts with the page's own colours, and sorts the tables. Knows nothing of what they show.
"use strict";
(() => {
  const root = document.documentElement;
  const PRINTED = 660; // CSS pixels that an A4 page has between its margins
  const NARROW = 560;
  const OPTIONS = { displayModeBar: false, doubleClick: false };
  const charts = JSON.parse(document.getElementById("charts").textContent);

  // ------------------------------------------------------------ charts

  /** The same figure with every colour that is a variable of the page looked up. */
  function coloured(value, look, isColour) {
    if (Array.isArray(value)) return value.map((each) => coloured(each, look, isColour));
    if (value && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([key, each]) => [key, coloured(each, look, /color/i.test(key))]),
      );
    }
    const variable = isColour && typeof value === "string" && /^var\((--[\w-]+)\)$/.exec(value);
    return variable ? look(variable[1]) : value;
  }

  function draw(width) {
    const style = getComputedStyle(root);
    const look = (name) => style.getPropertyValue(name).trim();
    return Promise.all(
      Object.entries(charts).map(([id, figure]) => {
        const place = document.getElementById(id);
        const { data, layout } = coloured(figure, look, false);
        Object.assign(layout, { width: width || place.clientWidth, height: place.clientHeight });
        if (layout.width < NARROW) narrow(data, layout);
        return Plotly.react(place, data, layout, OPTIONS);
      }),
    );
  }

  /** On a phone what stands beside crowded points goes: it is in the table. */
  function narrow(data, layout) {
    layout.font.size = 11;
    layout.xaxis.nticks = 5;
    for (const trace of data) {
      if (trace.marker && trace.marker.size > 9) trace.marker.size = 9;
      if (trace.type === "scatter" && trace.x.length > 6) trace.mode = trace.mode.replace("+text", "");
      if (trace.type === "heatmap" && trace.x.length > 6) trace.texttemplate = "";
    }
  }

  let drawnFor = root.clientWidth;
  function adapt() {
    if (root.clientWidth !== drawnFor) draw();
    drawnFor = root.clientWidth;
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  addEventListener("resize", adapt);
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    for (const each of document.querySelectorAll("details")) each.open = true;
    draw(PRINTED);
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    for (const each of document.querySelectorAll("details")) each.open = false;
    draw();
  });

  // ------------------------------------------------------------ tables

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const falling = head.getAttribute("aria-sort") === "ascending";
        for (const each of heads) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        sort(table.tBodies[0], column, falling, head.classList.contains("number"));
      });
    });
  }

  /** What has no figure stays at the end, whichever way. */
  function sort(body, column, falling, isNumber) {
    const key = (row) => row.cells[column].dataset.sort;
    const compare = (a, b) => (isNumber ? Number(a) - Number(b) : a.localeCompare(b));
    const rows = [...body.rows];
    const known = rows.filter((row) => key(row) !== undefined);
    known.sort((a, b) => (falling ? -1 : 1) * compare(key(a), key(b)));
    body.append(...known, ...rows.filter((row) => key(row) === undefined));
  }

  document.querySelectorAll("table[data-sortable]").forEach(sortable);
  draw().then(() => {
    document.getElementById("js-plotly-tester")?.setAttribute("aria-hidden", "true"); // plotly's own ruler
    root.dataset.drawn = Object.keys(charts).length;
  });
})();
