"""What the transmitter and the receiver of AudioDec share; it prints, as the real one does."""

import sys


class AudioCodec:
    def __init__(self, tx_device="cpu", rx_device="cpu", receptive_length=8192):
        self.tx_device, self.rx_device, self.receptive_length = tx_device, rx_device, receptive_length

    def load_transmitter(self, encoder_checkpoint):
        self.tx_encoder = self._load(encoder_checkpoint)
        self.tx_encoder.initial_encoder(self.receptive_length, self.tx_device)
        sys.stdout.write("Load tx_encoder\n")

    def load_receiver(self, encoder_checkpoint, decoder_checkpoint):
        self.rx_encoder = self._load(encoder_checkpoint)
        zq = self.rx_encoder.initial_encoder(self.receptive_length, self.rx_device)
        self.decoder = self._load(decoder_checkpoint)
        self.decoder.initial_decoder(zq)
