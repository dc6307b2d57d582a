"""The public names, called in the way the textbook's own cells call them, warnings as errors."""

import warnings

import pytest
import torch
import torchvision
from torch import nn

import d2l_gan as d2l


@pytest.fixture(autouse=True)
def strict():
    d2l.plt.switch_backend('agg')
    with d2l.plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter('error')
        # Between PyTorch and NumPy, when matplotlib is given a tensor; hidden unless asked for.
        warnings.filterwarnings('ignore', '__array__ implementation', DeprecationWarning)
        yield
    d2l.plt.close('all')


def start(*nets):
    for net in nets:
        for w in net.parameters():
            nn.init.normal_(w, 0, 0.02)


def test_chapter_1(capsys):
    d2l.seed_everything(0)
    X = d2l.normal(0.0, 1, (1000, 2))
    A, b = d2l.tensor([[1, 2], [-0.1, 0.5]]), d2l.tensor([1, 2])
    data = d2l.matmul(X, A) + b
    d2l.set_figsize()
    d2l.plt.scatter(d2l.numpy(data[:100, 0]), d2l.numpy(data[:100, 1]))
    data_iter = d2l.load_array((data,), 8)
    net_G = nn.Sequential(nn.Linear(2, 2))
    net_D = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1))
    num_epochs, latent_dim = 3, 2
    loss = nn.BCEWithLogitsLoss(reduction='sum')
    start(net_D, net_G)
    trainer_D = torch.optim.Adam(net_D.parameters(), lr=0.05)
    trainer_G = torch.optim.Adam(net_G.parameters(), lr=0.005)
    animator = d2l.Animator(
        xlabel='epoch', ylabel='loss', xlim=[1, num_epochs], nrows=2, figsize=(5, 5),
        legend=['discriminator', 'generator'],
    )  # fmt: skip
    animator.fig.subplots_adjust(hspace=0.3)
    for epoch in range(num_epochs):
        timer = d2l.Timer()
        metric = d2l.Accumulator(3)
        for (X,) in data_iter:
            Z = torch.normal(0, 1, size=(X.shape[0], latent_dim))
            metric.add(
                d2l.update_D(X, Z, net_D, net_G, loss, trainer_D),
                d2l.update_G(Z, net_D, net_G, loss, trainer_G),
                X.shape[0],
            )
        Z = torch.normal(0, 1, size=(100, latent_dim))
        fake_X = d2l.numpy(net_G(Z))
        animator.axes[1].cla()
        animator.axes[1].scatter(data[:, 0], data[:, 1])
        animator.axes[1].scatter(fake_X[:, 0], fake_X[:, 1])
        animator.axes[1].legend(['real', 'generated'])
        loss_D, loss_G = metric[0] / metric[2], metric[1] / metric[2]
        animator.add(epoch + 1, (loss_D, loss_G))
    print(f'loss_D {loss_D:.3f}, loss_G {loss_G:.3f}, {metric[2] / timer.stop():.1f} examples/sec')
    assert metric[2] == 1000
    assert 0.3 < loss_D < 0.8
    assert 0.5 < loss_G < 2.5
    assert len(animator.lines[0].get_xdata()) == num_epochs
    assert capsys.readouterr().out.endswith('examples/sec\n')


class G_block(nn.Module):
    def __init__(self, out_channels, in_channels=3, kernel_size=4, strides=2, padding=1, **kwargs):
        super().__init__(**kwargs)
        self.conv2d_trans = nn.ConvTranspose2d(
            in_channels, out_channels, kernel_size, strides, padding, bias=False
        )
        self.batch_norm, self.activation = nn.BatchNorm2d(out_channels), nn.ReLU()

    def forward(self, X):
        return self.activation(self.batch_norm(self.conv2d_trans(X)))


class D_block(nn.Module):
    def __init__(
        self, out_channels, in_channels=3, kernel_size=4, strides=2, padding=1, alpha=0.2, **kwargs
    ):
        super().__init__(**kwargs)
        self.conv2d = nn.Conv2d(
            in_channels, out_channels, kernel_size, strides, padding, bias=False
        )
        self.batch_norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.LeakyReLU(alpha, inplace=True)

    def forward(self, X):
        return self.activation(self.batch_norm(self.conv2d(X)))


def test_chapter_2(tmp_path, capsys):
    d2l.seed_everything(0)
    sprites = torchvision.datasets.ImageFolder(d2l.sprites(64, folder=tmp_path / 'sprites'))
    sprites.transform = torchvision.transforms.Compose([
        torchvision.transforms.Resize((64, 64)),
        torchvision.transforms.ToTensor(),
        torchvision.transforms.Normalize(0.5, 0.5),
    ])  # fmt: skip
    data_iter = torch.utils.data.DataLoader(
        sprites, batch_size=32, shuffle=True, num_workers=d2l.get_dataloader_workers()
    )
    d2l.set_figsize((4, 4))
    for X, _ in data_iter:
        imgs = X[:20].permute(0, 2, 3, 1) / 2 + 0.5
        d2l.show_images(imgs, num_rows=4, num_cols=5)
        break
    alphas = [0, 0.2, 0.4, 0.6, 0.8, 1]
    x = d2l.arange(-2, 1, 0.1)
    d2l.plot(
        d2l.numpy(x), [d2l.numpy(nn.LeakyReLU(alpha)(x)) for alpha in alphas], 'x', 'y', alphas
    )
    n, latent_dim, num_epochs, device = 4, 10, 1, d2l.try_gpu()
    net_G = nn.Sequential(
        G_block(in_channels=latent_dim, out_channels=n * 8, strides=1, padding=0),
        G_block(in_channels=n * 8, out_channels=n * 4),
        G_block(in_channels=n * 4, out_channels=n * 2),
        G_block(in_channels=n * 2, out_channels=n),
        nn.ConvTranspose2d(n, 3, kernel_size=4, stride=2, padding=1, bias=False),
        nn.Tanh(),
    )
    net_D = nn.Sequential(
        D_block(n),
        D_block(in_channels=n, out_channels=n * 2),
        D_block(in_channels=n * 2, out_channels=n * 4),
        D_block(in_channels=n * 4, out_channels=n * 8),
        nn.Conv2d(n * 8, 1, kernel_size=4, bias=False),
    )
    loss = nn.BCEWithLogitsLoss(reduction='sum')
    start(net_D, net_G)
    net_D, net_G = net_D.to(device), net_G.to(device)
    trainer_hp = {'lr': 0.005, 'betas': [0.5, 0.999]}
    trainer_D = torch.optim.Adam(net_D.parameters(), **trainer_hp)
    trainer_G = torch.optim.Adam(net_G.parameters(), **trainer_hp)
    animator = d2l.Animator(
        xlabel='epoch', ylabel='loss', xlim=[1, num_epochs], nrows=2, figsize=(5, 5),
        legend=['discriminator', 'generator'],
    )  # fmt: skip
    animator.fig.subplots_adjust(hspace=0.3)
    for epoch in range(1, num_epochs + 1):
        timer = d2l.Timer()
        metric = d2l.Accumulator(3)
        for X, _ in data_iter:
            Z = torch.normal(0, 1, size=(X.shape[0], latent_dim, 1, 1))
            X, Z = X.to(device), Z.to(device)
            metric.add(
                d2l.update_D(X, Z, net_D, net_G, loss, trainer_D),
                d2l.update_G(Z, net_D, net_G, loss, trainer_G),
                X.shape[0],
            )
        Z = torch.normal(0, 1, size=(21, latent_dim, 1, 1), device=device)
        fake_x = net_G(Z).permute(0, 2, 3, 1) / 2 + 0.5
        rows = [
            torch.cat([fake_x[7 * i + j].cpu().detach() for j in range(7)], 1) for i in range(3)
        ]
        animator.axes[1].cla()
        animator.axes[1].imshow(torch.cat(rows, 0))
        loss_D, loss_G = metric[0] / metric[2], metric[1] / metric[2]
        animator.add(epoch, (loss_D, loss_G))
    print(
        f'loss_D {loss_D:.3f}, loss_G {loss_G:.3f}, '
        f'{metric[2] / timer.stop():.1f} examples/sec on {device!s}'
    )
    assert metric[2] == 64
    assert animator.axes[1].images[0].get_array().shape == (192, 448, 3)
    animator.fig.canvas.draw()
    assert capsys.readouterr().out.endswith(f'examples/sec on {device}\n')
