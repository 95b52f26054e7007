"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const classes = new Map(data.classes.map((one) => [one.name, one]));
  const images = new Map(Object.entries(data.images));
  const VIEWS = [["clusters", "one by one"], ["merged", "merged by word"], ["whole", "layer as one"]];
  const MARKS = ["circle", "square", "triangle", "diamond", "cross", "plus"];
  const FEWEST = "jaxplain study serve STUDY";
  const NETWORK = "jaxplain study play STUDY";
  const played = Object.values(data.played).some((kind) => kind.plays > 0);
  const labelled = data.classes.some((one) => one.labels.some((labels) => labels.length > 0));

  let state = null; // what is shown: class, image, merged, layer and cluster, as in the address
  let opener = null; // what had the focus before the detail opened

  // Elements. Data becomes text or properties, and never HTML.

  const byId = (id) => document.getElementById(id);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const percent = (value) => `${value.toFixed(1)} %`;
  const score = (value) => value.toFixed(2);
  const plural = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
  const present = (nodes) => nodes.flat().filter((node) => node !== null && node !== undefined);

  function el(tag, properties, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties ?? {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name.startsWith("--")) node.style.setProperty(name, value);
      else if (name in node) node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...present(children));
    return node;
  }

  function svg(tag, attributes, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...present(children));
    return node;
  }

  const bdi = (text, properties) => el("bdi", properties, text);
  const code = (text) => el("code", {}, text);
  const empty = (...parts) => el("p", { className: "empty" }, ...parts);
  const hidden = (text) => el("span", { className: "hidden" }, text);

  /** A photo in grey with a map over it. */
  function seen(photo, heat, alt) {
    const layers = [["photo", photo], ["heat", heat]];
    const pictures = layers.map(([className, src]) => el("img", { className, src, alt: "" }));
    return el("span", { className: "seen", role: "img", "aria-label": alt }, ...pictures);
  }

  // State: the address says what is shown, so that links, reloads and the browser's buttons work.

  function read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const known = (name, options, otherwise) => (options.includes(asked.get(name)) ? asked.get(name) : otherwise);
    const image = images.get(asked.get("image"));
    const named = known("class", [...classes.keys()], image?.class ?? data.classes[0].name);
    const photo = image?.class === named ? asked.get("image") : classes.get(named).images[0];
    const merged = known("merged", VIEWS.map(([view]) => view), labelled ? "merged" : "clusters");
    const layer = known("layer", data.layers, "");
    const clusters = layer ? images.get(photo).layers[data.layers.indexOf(layer)][merged] : [];
    return { class: named, image: photo, merged, layer, cluster: known("cluster", clusters, "") };
  }

  function address(changes) {
    const chosen = Object.entries({ ...state, ...changes }).filter(([, value]) => value !== "");
    return `#${new URLSearchParams(chosen)}`;
  }

  function go(changes, replacing = false) {
    if (replacing) location.replace(address(changes));
    else location.hash = address(changes);
  }

  function render() {
    const before = state;
    state = read();
    const changed = (...names) => before === null || names.some((name) => before[name] !== state[name]);
    if (changed("class")) {
      showImages();
      showClass();
      showTrends();
    }
    if (changed("class", "image", "merged")) showPhoto();
    showChoices();
    showLayer(changed("layer", "image", "merged"));
    showDetail();
  }

  const layersOf = () => images.get(state.image).layers;
  const keysOf = (number) => layersOf()[number][state.merged];

  // Choosers

  function radio(name, value, ...content) {
    const input = el("input", { type: "radio", name, value, onchange: () => go({ [name]: value, cluster: "" }) });
    return el("label", {}, input, ...content);
  }

  function setUp() {
    byId("class").append(...data.classes.map((one) => el("option", { value: one.name }, one.name)));
    byId("class").addEventListener("change", ({ target: { value } }) =>
      go({ class: value, image: classes.get(value).images[0], cluster: "" }));
    const layers = data.layers.map((layer, number) => el("option", { value: layer }, `${number + 1}: ${layer}`));
    byId("layer").append(el("option", { value: "" }, "all"), ...layers);
    byId("layer").addEventListener("change", (event) => go({ layer: event.target.value, cluster: "" }));
    byId("merged").append(...VIEWS.map(([view, name]) => radio("merged", view, el("span", {}, name))));
    for (const button of document.querySelectorAll(".skips button")) {
      button.addEventListener("click", () => byId(button.dataset.to).focus());
    }
    showNetworks();
  }

  function showImages() {
    const choice = (id) => {
      const { name, photo } = images.get(id);
      return radio("image", id, el("img", { src: photo, alt: "" }), bdi(name, { title: name }));
    };
    byId("image").replaceChildren(el("legend", {}, "Photo"), ...classes.get(state.class).images.map(choice));
  }

  function showChoices() {
    byId("class").value = state.class;
    byId("layer").value = state.layer;
    for (const name of ["image", "merged"]) {
      for (const input of byId(name).querySelectorAll("input")) input.checked = input.value === state[name];
    }
  }

  // The photo: a column a layer, a card a cluster

  function named(number) {
    return el("span", { className: "layer-name" }, `Layer ${number + 1} `, bdi(data.layers[number]));
  }

  function showPhoto() {
    const { name, photo } = images.get(state.image);
    const head = el(
      "div", { className: "photo-head" },
      el("img", { src: photo, alt: "The photo that is explained" }),
      el(
        "div", {},
        el("h2", { id: "local-title" }, "The photo ", bdi(name), " as ", bdi(state.class)),
        el("p", {}, explanation(state.merged)),
        el(
          "p", { className: "scale" }, "Colour shows where the cluster is active: ",
          el("span", { className: "ramp", role: "img", "aria-label": "from transparent over purple to yellow" }),
          " from little to most.",
        ),
      ),
    );
    const columns = el("ol", { className: "layers", onkeydown: moveBetweenCards }, ...data.layers.map((_, n) => column(n)));
    byId("local").replaceChildren(head, ...(labelled ? [] : [noLabels()]), scroller("The photo's layers", columns));
  }

  function explanation(view) {
    const text = {
      clusters: "Each card is a cluster: channels of a layer that are active in the same place.",
      merged: "Each card is a cluster, channels of a layer that are active in the same place, or several clusters whose " +
        "best words are the same.",
      whole: "Each card has all clusters of a layer together.",
    };
    return `${text[view]} Its percentage is its share of the layer's weight for this class. Choose a card to see what ` +
      "players saw of it, and all their words. Layers go from shallow to deep, cards from the heaviest down.";
  }

  function noLabels() {
    if (!played) {
      return empty("Nobody has played yet, so there are no words: ", code(FEWEST), " lets people play in a browser, and ",
        code(NETWORK), " has the network play. Then make this page again with their plays.");
    }
    return empty("None of the plays has words that count, which are in English and of plays that were not given up: ",
      code(FEWEST), " lets more people play.");
  }

  function scroller(name, content) {
    return el("div", { className: "scroller", role: "region", "aria-label": name, tabIndex: 0 }, content);
  }

  function column(number) {
    const { groups } = layersOf()[number];
    const keys = keysOf(number);
    const total = keys.reduce((sum, key) => sum + groups[key].weight, 0);
    const count = state.merged === "clusters" ? plural(keys.length, "cluster") : plural(keys.length, "group");
    return el(
      "li", { className: "layer", "data-layer": data.layers[number] },
      el("h3", {}, named(number)),
      el("p", { className: "small" }, keys.length ? `${count}, ${percent(total)}` : "no clusters"),
      el("ol", { className: "cards" }, ...keys.map((key) => el("li", {}, card(number, key)))),
    );
  }

  function card(number, key) {
    const group = layersOf()[number].groups[key];
    const [best] = group.labels;
    const further = group.labels.slice(1, 4).flatMap(({ label }) => [", ", bdi(label)]);
    return el(
      "button",
      {
        type: "button", className: "card", "data-layer": data.layers[number], "data-cluster": key,
        onclick: () => go({ layer: data.layers[number], cluster: key }),
      },
      seen(images.get(state.image).photo, group.heat, `Where ${partsName(group)} is active`),
      el("span", { className: "weight", "--share": group.weight / 100 }, percent(group.weight)),
      el(
        "span", { className: "best" },
        best ? bdi(best.label) : el("span", { className: "muted" }, played ? "no words" : "not played"),
        el("span", { className: "print-only" }, ...further, `. ${outcomes(group)}`),
      ),
    );
  }

  const partsName = (group) => {
    const numbers = group.parts.map((part) => part.cluster);
    return numbers.length === 1 ? `cluster ${numbers[0]}` : `clusters ${numbers.join(" + ")}`;
  };

  const outcomes = (group) => `${group.wins} won, ${group.losses} lost, ${group.resigns} given up`;

  const cardOf = (layer, cluster) =>
    [...document.querySelectorAll(".card")].find((one) => one.dataset.layer === layer && one.dataset.cluster === cluster);

  function moveBetweenCards(event) {
    const from = event.target.closest(".card");
    const columns = [...document.querySelectorAll(".layer")].map((one) => [...one.querySelectorAll(".card")]);
    const number = columns.findIndex((cards) => cards.includes(from));
    if (number < 0) return;
    const row = columns[number].indexOf(from);
    const beside = (step) => {
      let place = number + step;
      while (columns[place]?.length === 0) place += step;
      return columns[place]?.[Math.min(row, columns[place].length - 1)];
    };
    const moves = {
      ArrowUp: () => columns[number][row - 1], ArrowDown: () => columns[number][row + 1],
      ArrowLeft: () => beside(-1), ArrowRight: () => beside(1),
      Home: () => columns[number][0], End: () => columns[number].at(-1),
    };
    if (!Object.hasOwn(moves, event.key)) return;
    event.preventDefault();
    moves[event.key]()?.focus();
  }

  function showLayer(moved) {
    for (const one of document.querySelectorAll("[data-layer]:not(.card)")) {
      one.classList.toggle("chosen", one.dataset.layer === state.layer);
    }
    if (!moved) return;
    const chosen = byId("local").querySelector(".layer.chosen");
    const box = byId("local").querySelector(".scroller");
    if (chosen) box.scrollTo({ left: chosen.offsetLeft - (box.clientWidth - chosen.clientWidth) / 2 });
    const labels = byId("global").querySelector(".chosen");
    const panel = labels?.closest(".scroller");
    if (panel) panel.scrollTo({ top: labels.offsetTop - 8 });
  }

  // A cluster's detail

  function showDetail() {
    const dialog = byId("detail");
    if (state.cluster === "") {
      if (dialog.open) dialog.close();
      return;
    }
    const focused = dialog.contains(document.activeElement) ? document.activeElement.dataset.role : "close";
    if (!dialog.open) opener = document.activeElement;
    fillDetail(dialog);
    if (!dialog.open) dialog.showModal();
    dialog.querySelector(`[data-role="${focused}"]:enabled, [data-role="close"]`).focus();
    dialog.scrollTop = 0;
    document.title = `${partsName(shownGroup())}, ${state.layer}, ${state.class}`;
  }

  const shownGroup = () => layersOf()[data.layers.indexOf(state.layer)].groups[state.cluster];

  function closed() {
    document.title = `What ${data.model} looks at`;
    const last = state.cluster === "" ? null : cardOf(state.layer, state.cluster);
    if (state.cluster !== "" && !byId("detail").open) go({ cluster: "" });
    const elsewhere = opener?.isConnected && !opener.classList.contains("card") && opener !== document.body;
    (elsewhere ? opener : last)?.focus();
  }

  function fillDetail(dialog) {
    const group = shownGroup();
    const number = data.layers.indexOf(state.layer);
    const { name, photo } = images.get(state.image);
    const joined = group.parts.length > 1;
    dialog.replaceChildren(el(
      "div", { className: "detail" },
      el(
        "div", { className: "detail-head" },
        el(
          "div", {},
          el("h2", { id: "detail-title" }, `${partsName(group)[0].toUpperCase()}${partsName(group).slice(1)}`),
          el("p", { className: "small" }, named(number), " of ", bdi(name), " as ", bdi(state.class)),
        ),
        buttons(),
      ),
      el(
        "div", { className: "figures" },
        el("figure", {}, el("img", { src: group.revealed, alt: "The part of the photo that players saw" }), caption(group)),
        el("figure", {}, seen(photo, group.heat, "The photo with the cluster's map over it"), el(
          "figcaption", {}, el("strong", {}, percent(group.weight)), " of the layer's weight for this class, in ",
          plural(group.channels, "channel"), joined ? ` of ${group.parts.length} clusters.` : ".",
        )),
      ),
      el("h3", {}, "Words"),
      group.labels.length ? bars(group) : noWords(group),
      ...(joined ? [el("h3", {}, "Its clusters"), parts(group)] : []),
    ));
  }

  function buttons() {
    const cards = data.layers.flatMap((layer, number) => keysOf(number).map((cluster) => ({ layer, cluster })));
    const here = cards.findIndex((one) => one.layer === state.layer && one.cluster === state.cluster);
    const step = (by, role, text, name) => el("button", {
      type: "button", "data-role": role, "aria-label": name, title: name, disabled: !cards[here + by],
      onclick: () => go(cards[here + by], true),
    }, text);
    return el(
      "div", { className: "buttons" },
      step(-1, "previous", "\u2190", "Cluster before, or of the layer before (left arrow)"),
      step(1, "next", "\u2192", "Next cluster, or of the next layer (right arrow)"),
      el("button", { type: "button", "data-role": "close", onclick: () => byId("detail").close() }, "Close"),
    );
  }

  function caption(group) {
    const shown = (level) => `${data.levels[level]} % of the photo`;
    const games = `${outcomes(group)}.`;
    if (group.level === null) {
      return el("figcaption", {}, `${shown(data.example_level)}, as an example: there is no play with words, whose level ` +
        `would be shown. Plays: ${games}`);
    }
    const text = `${group.wins ? "Recognised at" : "Played up to"} ${shown(group.level)}`;
    return el("figcaption", {}, el("strong", {}, text), `, the mean of its plays, rounded up to a level; a play that was ` +
      `given up counts as ${data.levels.at(-1)} %. Plays: ${games}`);
  }

  function noWords(group) {
    const plays = group.wins + group.losses + group.resigns;
    if (plays) return empty("None of its plays has words that count. ", code(FEWEST), " lets more people play.");
    return empty("Nobody has played this cluster yet. ", code(FEWEST), " lets people play in a browser.");
  }

  /** Bars of the labels' scores, in pieces for the parts that they come from. */
  function bars(group) {
    const top = group.labels[0].score || 1;
    const row = ({ label, score: value, shares }) => {
      const pieces = shares.map((share, part) => [share, part]).filter(([share]) => share > 0);
      const piece = ([share, part]) => el("span", {
        className: `piece part-${part % 8}`, "--share": share / top,
        title: `cluster ${group.parts[part].cluster}: ${score(share)}`,
      });
      const read = pieces.map(([share, part]) => `cluster ${group.parts[part].cluster} ${score(share)}`).join(", ");
      return el(
        "li", {}, bdi(label, { className: "word" }),
        el("span", { className: "bar", "aria-hidden": "true" }, ...pieces.map(piece)),
        el("span", { className: "value" }, score(value), shares.length > 1 ? hidden(` from ${read}`) : null),
      );
    };
    const note = "The score counts how often a word was used, less for each level that had to be shown, and a quarter " +
      "where nobody who used it guessed right.";
    return el("div", {}, el("ol", { className: "bars" }, ...group.labels.map(row)), el("p", { className: "small" }, note));
  }

  function parts(group) {
    const row = (part, place) => el(
      "tr", {},
      el("th", { scope: "row" }, el("span", { className: `key part-${place % 8}` }), `cluster ${part.cluster}`),
      el("td", {}, percent(part.weight)), el("td", {}, part.channels),
    );
    const head = ["Cluster", "Weight", "Channels"].map((name) => el("th", { scope: "col" }, name));
    return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...group.parts.map(row)));
  }

  function stepInDetail(event) {
    const role = { ArrowLeft: "previous", ArrowRight: "next" }[event.key];
    if (!role) return;
    event.preventDefault();
    byId("detail").querySelector(`[data-role="${role}"]`)?.click();
  }

  // The class: its best labels layer by layer

  function showClass() {
    const one = classes.get(state.class);
    const languages = Object.entries(one.names).flatMap(([language, name], place) =>
      [place ? ", " : " ", bdi(`${name} (${language})`)]);
    const names = languages.length ? el("p", { className: "small" }, "Players know it as", ...languages, ".") : null;
    const layers = el("ol", { className: "class-layers" }, ...data.layers.map((_, number) => classLayer(one, number)));
    byId("global").replaceChildren(...present([
      el("h2", { id: "global-title" }, "The class ", bdi(one.name)), names,
      el("p", {}, `The best words of each layer over ${plural(one.images.length, "photo")} of the class, with their scores ` +
        "and the mean weight of the clusters that they are best of. Choose an example to open it."),
      one.labels.some((labels) => labels.length) ? scroller("Best words by layer", layers) : noClassLabels(),
    ]));
  }

  function noClassLabels() {
    return empty(labelled ? "No cluster of this class has words yet. " : "Words appear here after the first plays. ",
      code(FEWEST), " lets people play in a browser.");
  }

  function classLayer(one, number) {
    const labels = one.labels[number];
    const top = labels[0]?.score || 1;
    const rows = labels.map((label) => el(
      "li", {},
      el(
        "div", { className: "ranked" }, bdi(label.label, { className: "word" }),
        el("span", { className: "bar", "aria-hidden": "true" }, el("span", { className: "piece", "--share": label.score / top })),
        el("span", { className: "value" }, score(label.score)),
        el("span", { className: "small" }, `mean weight ${percent(label.weight)}`),
      ),
      el("div", { className: "exemplars" }, ...label.exemplars.map((exemplar) => example(exemplar, number, label.label))),
    ));
    return el(
      "li", { "data-layer": data.layers[number] }, el("h3", {}, named(number)),
      rows.length ? el("ol", { className: "ranks" }, ...rows) : el("p", { className: "small" }, "no words"),
    );
  }

  function example({ image, group: cluster }, number, label) {
    const { photo, name, layers } = images.get(image);
    const group = layers[number].groups[cluster];
    return el(
      "button", {
        type: "button", className: "exemplar", title: name,
        onclick: () => go({ image, merged: "merged", layer: data.layers[number], cluster }),
      },
      seen(photo, group.heat, `${label} in ${name}: open`),
    );
  }

  // Trends

  function showTrends() {
    const trends = classes.get(state.class).trends;
    const rising = trends.filter((trend) => trend.slope > 0).slice(0, MARKS.length);
    const falling = trends.filter((trend) => trend.slope < 0).reverse().slice(0, MARKS.length);
    const level = trends.filter((trend) => trend.slope === 0);
    const top = Math.max(...trends.flatMap((trend) => trend.means), 0) || 1;
    const why = data.layers.length < 2
      ? empty("This study has one layer; words can appear or fade over two layers or more.")
      : empty("Words that appear or fade with depth are drawn here once there are plays with words. ",
        code(FEWEST), " lets people play in a browser.");
    const charts = [["Appear with depth", rising], ["Fade with depth", falling]].map(([name, lines]) =>
      el("div", { className: "trend" }, el("h3", {}, name), lines.length ? chart(name, lines, top) : empty("No word does.")));
    const rest = level.flatMap(({ label }, place) => [place ? ", " : " ", bdi(label)]);
    byId("trends").replaceChildren(...present([
      el("h2", { id: "trends-title" }, "Words over depth, for ", bdi(state.class)),
      ...(trends.length ? [
        el("p", {}, "A word's mean score in each layer, over the clusters that have it, and its slope: the change from one " +
          "layer to the next along the straight line that fits best."),
        el("div", { className: "trend-pair" }, ...charts),
        rest.length ? el("p", { className: "small" }, "Neither:", ...rest, ".") : null,
        numbers(trends),
      ] : [why]),
    ]));
  }

  function chart(name, lines, top) {
    const [width, height, left, bottom, right, above, inside] = [360, 200, 30, 36, 6, 10, 10];
    const x = (place) => left + inside + (place * (width - left - right - 2 * inside)) / (data.layers.length - 1);
    const y = (value) => height - bottom - (value * (height - bottom - above)) / top;
    const step = tick(top);
    const ticks = Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, place) => place * step);
    const grid = ticks.flatMap((value) => [
      svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      svg("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, String(Number(value.toPrecision(6)))),
    ]);
    const names = data.layers.map((_, place) => svg("text", { x: x(place), y: height - bottom + 16, "text-anchor": "middle" }, place + 1));
    const title = svg("text", { x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" }, "layer, shallow to deep");
    const drawn = lines.map(({ means }, line) => svg(
      "g", { class: `line line-${line}` },
      svg("polyline", { points: means.map((value, place) => `${x(place)},${y(value)}`).join(" ") }),
      ...means.map((value, place) => mark(MARKS[line], x(place), y(value))),
    ));
    const picture = svg("svg", {
      viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `${name}: mean scores by layer; the numbers are in the table below`,
    }, ...grid, ...names, title, ...drawn);
    return el("figure", { className: "chart" }, picture, legend(lines));
  }

  /** A distance of two to five lines up to `top`: 1, 2 or 5 times a power of ten. */
  function tick(top) {
    const power = 10 ** Math.floor(Math.log10(top / 2));
    return power * [5, 2, 1].find((many) => many * power * 2 <= top);
  }

  function mark(kind, x, y) {
    const r = 3.6;
    const paths = {
      square: `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
      triangle: `M${x},${y - r - 1}l${r + 1},${2 * r}h${-2 * r - 2}z`,
      diamond: `M${x},${y - r - 1.5}l${r + 1.5},${r + 1.5}l${-r - 1.5},${r + 1.5}l${-r - 1.5},${-r - 1.5}z`,
      cross: `M${x - r},${y - r}l${2 * r},${2 * r}m0,${-2 * r}l${-2 * r},${2 * r}`,
      plus: `M${x - r - 1},${y}h${2 * r + 2}m${-r - 1},${-r - 1}v${2 * r + 2}`,
    };
    return kind === "circle" ? svg("circle", { cx: x, cy: y, r }) : svg("path", { class: kind, d: paths[kind] });
  }

  function legend(lines) {
    const signed = (value) => `${value > 0 ? "+" : "\u2212"}${Math.abs(value).toFixed(3)}`;
    return el("ul", { className: "legend" }, ...lines.map(({ label, slope }, line) => el(
      "li", {},
      svg("svg", { viewBox: "0 0 34 14", class: `line line-${line}`, "aria-hidden": "true" },
        svg("polyline", { points: "1,7 33,7" }), mark(MARKS[line], 17, 7)),
      bdi(label, { className: "word" }), el("span", { className: "value" }, signed(slope), hidden(" a layer")),
    )));
  }

  function numbers(trends) {
    const head = ["Word", ...data.layers.map((_, place) => place + 1), "Slope"];
    const row = ({ label, means, slope }) => el(
      "tr", {}, el("th", { scope: "row" }, bdi(label)), ...[...means.map(score), slope.toFixed(3)].map((text) => el("td", {}, text)),
    );
    const table = el(
      "table", {}, el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...trends.map(row)),
    );
    return el("details", {}, el("summary", {}, "The numbers"), scroller("Mean scores by layer", table));
  }

  // The network as a player

  function showNetworks() {
    const rows = data.recognition.map((found, number) => [found, number]).filter(([found]) => found !== null);
    const head = ["Layer", ...data.levels.map((level) => `${level} %`), "Plays"];
    const row = ([{ shares, plays }, number]) => el(
      "tr", {}, el("th", { scope: "row" }, named(number)),
      ...shares.map((share) => el("td", { className: "share", "--share": share }, `${Math.round(100 * share)} %`)),
      el("td", {}, plays),
    );
    const table = el(
      "table", { className: "heat-table" },
      el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...rows.map(row)),
    );
    byId("networks").replaceChildren(
      el("h2", { id: "networks-title" }, "The network as a player"),
      ...(rows.length ? [
        el("p", {}, "How many of a layer's clusters the network itself recognised, when it saw at most this much of a " +
          "photo. Clusters that hold what a class is known by are recognised from little."),
        scroller("Shares of plays that networks won", table),
      ] : [empty("No network has played yet: ", code(NETWORK), " has it play all rounds. Then make this page again.")]),
    );
  }

  // Light and dark

  function setUpTheme() {
    const button = byId("theme");
    const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark"
      || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    const show = () => { button.textContent = isDark() ? "Light" : "Dark"; };
    button.addEventListener("click", () => {
      document.documentElement.dataset.theme = isDark() ? "light" : "dark";
      show();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
    button.hidden = false;
    show();
  }

  setUp();
  setUpTheme();
  byId("main").hidden = false;
  byId("detail").addEventListener("close", closed);
  byId("detail").addEventListener("keydown", stepInDetail);
  byId("detail").addEventListener("click", (event) => { if (event.target === byId("detail")) byId("detail").close(); });
  addEventListener("hashchange", render);
  render();
})();
