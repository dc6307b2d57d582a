// Paper is white: what is dark on the screen is printed light.
const root = document.documentElement;
let theme = root.dataset.theme;
matchMedia("print").addEventListener("change", ({ matches }) => {
  if (matches) theme = root.dataset.theme;
  root.dataset.theme = matches ? "light" : theme;
});
